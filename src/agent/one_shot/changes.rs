//! Changes: grants, revocations, accounts, and changes of a resource.

use prost_types::Struct;
use tonic::transport::Channel;

use crate::agent::one_shot::answer::{Answer, Outcome, access_remains, dry_run};
use crate::agent::one_shot::error::OneShotError;
use crate::agent::one_shot::lookup::{Lookup, written};
use crate::proto::connector::account_info::Email;
use crate::proto::connector::account_manager_service_client::AccountManagerServiceClient;
use crate::proto::connector::create_account_response::Result as Created;
use crate::proto::connector::credential_manager_service_client::CredentialManagerServiceClient;
use crate::proto::connector::credential_options::{NoPassword, Options};
use crate::proto::connector::grant_manager_service_client::GrantManagerServiceClient;
use crate::proto::connector::resource_deleter_service_client::ResourceDeleterServiceClient;
use crate::proto::connector::{
    AccountInfo, CreateAccountRequest, CredentialOptions, DeleteResourceV2Request, GrantAlreadyExists,
    GrantAlreadyRevoked, GrantManagerServiceGrantRequest, GrantManagerServiceRevokeRequest, Resource,
    ResourceId, RotateCredentialRequest,
};
use crate::proto::{find_annotation, string, structure_of_json};

pub(super) async fn grant(
    lookup: &Lookup<'_>,
    connector: &Channel,
    entitlement_id: &str,
    principal: String,
    principal_type: String,
) -> Result<Answer, OneShotError> {
    let entitlement = lookup.entitlement(entitlement_id).await?;
    let principal = lookup.resource(id(principal, principal_type)).await?;
    let about = vec![
        ("entitlement", entitlement.id.clone()),
        ("principal", principal.id.as_ref().map(written).unwrap_or_default()),
    ];
    let request = GrantManagerServiceGrantRequest {
        entitlement: Some(entitlement),
        principal: Some(principal),
        ..Default::default()
    };
    let answer = GrantManagerServiceClient::new(connector.clone()).grant(request).await;
    let answer = answer.map_err(OneShotError::call("Grant"))?.into_inner();
    let before = find_annotation::<GrantAlreadyExists>(&answer.annotations).is_some();
    let outcome = outcome(dry_run(&answer.annotations), before);
    Answer::new("grant", outcome, about, &answer)
}

pub(super) async fn revoke(
    lookup: &Lookup<'_>,
    connector: &Channel,
    grant_id: &str,
) -> Result<Answer, OneShotError> {
    let grant = lookup.grant(grant_id).await?;
    let request = GrantManagerServiceRevokeRequest { grant: Some(grant), ..Default::default() };
    let answer = GrantManagerServiceClient::new(connector.clone()).revoke(request).await;
    let answer = answer.map_err(OneShotError::call("Revoke"))?.into_inner();
    let before = find_annotation::<GrantAlreadyRevoked>(&answer.annotations).is_some();
    let outcome = outcome(dry_run(&answer.annotations), before);
    let mut about = vec![("grant", grant_id.to_owned())];
    about.extend(access_remains(&answer.annotations).map(|level| ("access_remains", level)));
    Answer::new("revoke", outcome, about, &answer)
}

/// Builds the account to create. A separate email address is also added to the profile, where connectors look
/// for it.
///
/// # Errors
/// [`OneShotError::Value`]
pub(super) fn account(
    login: String,
    email: Option<String>,
    profile: Option<&str>,
) -> Result<AccountInfo, OneShotError> {
    let mut profile = object("create-account-profile", profile)?;
    if let Some(email) = &email {
        profile.fields.entry("email".to_owned()).or_insert_with(|| string(email.as_str()));
    }
    let emails = email.into_iter().map(|address| Email { address, is_primary: true }).collect();
    Ok(AccountInfo { emails, login, profile: Some(profile), ..Default::default() })
}

pub(super) async fn create_account(
    connector: &Channel,
    account: AccountInfo,
    resource_type_id: String,
) -> Result<Answer, OneShotError> {
    const METHOD: &str = "CreateAccount";
    let request = CreateAccountRequest {
        account_info: Some(account),
        credential_options: Some(CredentialOptions {
            options: Some(Options::NoPassword(NoPassword {})),
            ..Default::default()
        }),
        resource_type_id,
        ..Default::default()
    };
    let answer = AccountManagerServiceClient::new(connector.clone()).create_account(request).await;
    let answer = answer.map_err(OneShotError::call(METHOD))?.into_inner();
    let dry = dry_run(&answer.annotations);
    let (before, resource) = match &answer.result {
        Some(Created::Success(made)) => (false, made.resource.as_ref()),
        Some(Created::AlreadyExists(found)) => (true, found.resource.as_ref()),
        _ if dry.is_some() => (false, None),
        Some(Created::ActionRequired(wanted)) => {
            return Err(OneShotError::AccountPending(wanted.message.clone()));
        }
        Some(Created::InProgress(_)) => {
            return Err(OneShotError::AccountPending("Retool is still creating it; retry".to_owned()));
        }
        None => return Err(OneShotError::Incomplete { method: METHOD, what: "a result" }),
    };
    let about = resource.and_then(|resource: &Resource| resource.id.as_ref());
    let about = about.map(|id| ("account", written(id))).into_iter().collect();
    Answer::new("create_account", outcome(dry, before), about, &answer)
}

pub(super) async fn delete_resource(
    connector: &Channel,
    resource: String,
    resource_type: String,
) -> Result<Answer, OneShotError> {
    let id = id(resource, resource_type);
    let about = vec![("resource", written(&id))];
    let request = DeleteResourceV2Request { resource_id: Some(id), ..Default::default() };
    let answer = ResourceDeleterServiceClient::new(connector.clone()).delete_resource_v2(request).await;
    let answer = answer.map_err(OneShotError::call("DeleteResourceV2"))?.into_inner();
    let outcome = outcome(dry_run(&answer.annotations), false);
    Answer::new("delete_resource", outcome, about, &answer)
}

pub(super) async fn rotate_credentials(
    connector: &Channel,
    resource: String,
    resource_type: String,
) -> Result<Answer, OneShotError> {
    let id = id(resource, resource_type);
    let about = vec![("resource", written(&id))];
    let request = RotateCredentialRequest { resource_id: Some(id), ..Default::default() };
    let answer = CredentialManagerServiceClient::new(connector.clone()).rotate_credential(request).await;
    let answer = answer.map_err(OneShotError::call("RotateCredential"))?.into_inner();
    let outcome = outcome(dry_run(&answer.annotations), false);
    Answer::new("rotate_credentials", outcome, about, &answer)
}

/// Parses the JSON object of a setting; an empty object if the setting is missing.
pub(super) fn object(name: &'static str, text: Option<&str>) -> Result<Struct, OneShotError> {
    // The parser's message may quote the text, which may contain personal data.
    let wrong = |error: serde_json::Error| OneShotError::Value {
        name,
        problem: format!("not a JSON object (line {}, column {})", error.line(), error.column()),
    };
    text.map_or(Ok(Struct::default()), |text| {
        serde_json::from_str(text).map(|object| structure_of_json(&object)).map_err(wrong)
    })
}

fn outcome(dry_run: Option<String>, before: bool) -> Outcome {
    match dry_run {
        Some(would) => Outcome::DryRun(would),
        None if before => Outcome::Unchanged,
        None => Outcome::Changed,
    }
}

fn id(resource: String, resource_type: String) -> ResourceId {
    ResourceId { resource_type, resource, ..Default::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_added_to_the_profile_but_never_replaces_one() {
        let email = || Some("ada@example.com".to_owned());
        let made = account("ada".to_owned(), email(), Some(r#"{"first_name": "Ada"}"#)).unwrap();
        let profile = made.profile.unwrap();
        assert_eq!(profile.fields["email"], string("ada@example.com"));
        assert_eq!(profile.fields["first_name"], string("Ada"));
        assert!(made.emails[0].is_primary && made.emails[0].address == "ada@example.com");
        let made = account(String::new(), email(), Some(r#"{"email": "lovelace@example.com"}"#)).unwrap();
        assert_eq!(made.profile.unwrap().fields["email"], string("lovelace@example.com"));
        assert!(account(String::new(), None, None).unwrap().profile.unwrap().fields.is_empty());
    }

    #[test]
    fn rejects_an_invalid_profile_without_repeating_it() {
        for text in ["hunter2", "[\"hunter2\"]", "{\"hunter2\""] {
            let error = account(String::new(), None, Some(text)).unwrap_err().to_string();
            assert!(error.contains("create-account-profile") && !error.contains("hunter2"), "{error}");
        }
    }
}
