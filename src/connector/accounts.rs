//! Creates accounts through Retool's REST API (decision accounts-by-rest).
//!
//! The account may already exist, Retool does not document how it reports that, and the response may be lost.
//! A refused request therefore leads to a look-up (decision existing-accounts). A new account is read back
//! from the database, where the next listing finds it.

mod form;
mod lookup;

use prost_types::Any;

use crate::connector::accounts::lookup::{Found, existing, find, is_for, provisional, read_back};
use crate::connector::audit::{Caller, Record};
use crate::connector::change::answer::{Completed, dry_run};
use crate::connector::context::Context;
use crate::connector::error::Error;
use crate::connector::resource_kind::{ResourceKind, Spelled};
use crate::connector::types::user;
use crate::connector::{Connector, rate_limit};
use crate::proto::connector::create_account_response::{
    ActionRequiredResult, AlreadyExistsResult, InProgressResult, Result as Answered, SuccessResult,
};
use crate::proto::connector::credential_options::Options;
use crate::proto::connector::{CreateAccountRequest, CreateAccountResponse, CredentialOptions, Resource};
use crate::repeats::Verdict;
use crate::retool::api::Api;
use crate::retool::api::error::{ApiError, Problem};
use crate::retool::api::rate_limit::RateLimit;
use crate::retool::api::user::{ApiUser, NewUser, UserType};
use crate::retool::change::{Mode, Outcome};
use crate::retool::tables::users;
use crate::retool::tables::users::User;

/// Appended to an error after which the account may exist.
const UNCERTAIN: &str = "; the account may have been created anyway, and retrying is safe";
/// Appended to a refusal because the address is taken.
const UNKNOWN_WHICH: &str =
    "; another account has the address, and looking it up failed: search for it in Retool, or retry";

impl Connector {
    /// Creates an account in Retool, or returns the existing account with the address.
    ///
    /// # Errors
    /// [`Error::ProvisioningDisabled`], [`Error::NotImplemented`], [`Error::Argument`], [`Error::NoRest`],
    /// [`Error::Rest`], [`Error::Database`]
    pub(crate) async fn create_account(
        &self,
        request: &CreateAccountRequest,
        caller: &Caller,
    ) -> Result<CreateAccountResponse, Error> {
        let changes = &self.context.changes;
        let mut record = Record::begin(changes, "create_account", caller, String::new(), String::new());
        let created = match self.gate() {
            Ok(()) => create(&self.context, request, &mut record).await,
            Err(error) => Err(error),
        };
        record.close(created.as_ref().map(|(_, completed)| completed)).await;
        created.map(|(response, _)| response)
    }
}

/// Creates the account, or finds the existing one.
///
/// # Errors
/// The request is invalid, or Retool did not create the account and has none with this address.
async fn create(
    context: &Context,
    request: &CreateAccountRequest,
    record: &mut Record,
) -> Result<(CreateAccountResponse, Completed), Error> {
    accept_type(&request.resource_type_id)?;
    accept_credential(request.credential_options.as_ref())?;
    let new = form::new_user(request)?;
    let api = context.api()?;
    // Checked before the account is created, because a new account could not be found without the sids.
    users::require_sids(&context.database).await?;
    if context.mode == Mode::DryRun {
        return rehearse(context, api, &new, record).await;
    }
    record.announce(context.mode).await?;
    match api.create_user(&new).await {
        Ok(answer) => {
            let made = Some(&answer.value).filter(|made| is_for(made, &new));
            if made.is_none()
                && let Verdict::Log { left_out } = record.judge_warning("other_account")
            {
                tracing::warn!(
                    left_out,
                    "Retool's REST API answered with an account that has another address"
                );
            }
            let row = read_back(context, made, &new, record).await;
            Ok(created(context, row, made, answer.rate_limit, record).await)
        }
        Err(error) if may_be_a_duplicate(&error) => {
            let mut rate_limit = error.rate_limit;
            let (found, undecided) = match find(api, &new, &mut rate_limit).await {
                Ok(found) => (found, None),
                Err(look_up) => (None, Some(look_up)),
            };
            let taken = matches!(error.problem, Problem::Refused { status: 409, .. });
            match (existing(context, found, &new, taken).await?, undecided) {
                (Some(found), _) => Ok(already_exists(found, Some(rate_limit), record)),
                (None, None) => Err(ApiError { rate_limit, ..error }.into()),
                (None, Some(look_up)) if taken => {
                    let look_up = Error::from(look_up);
                    if let Verdict::Log { left_out } = record.judge_warning("look_up") {
                        let error = &look_up;
                        tracing::warn!(%error, left_out, "could not look up the account that has the address");
                    }
                    let error = ApiError { rate_limit, ..error };
                    Err(Error::Rest { error, uncertain: UNKNOWN_WHICH })
                }
                // It is unknown whether Retool has the account. Nothing was created, so a retry is safe.
                (None, Some(look_up)) => Err(look_up.into()),
            }
        }
        Err(error) => {
            let uncertain = if error.may_have_happened() { UNCERTAIN } else { "" };
            Err(Error::Rest { error, uncertain })
        }
    }
}

fn accept_type(type_id: &str) -> Result<(), Error> {
    if type_id.is_empty() || type_id == ResourceKind::User.type_id() {
        return Ok(());
    }
    Err(Error::NotImplemented { what: "Retool has accounts of resource type user only" })
}

/// Retool invites users, who then choose how to sign in. Every option is therefore accepted, except a
/// password that the caller relies on.
fn accept_credential(options: Option<&CredentialOptions>) -> Result<(), Error> {
    let wrong =
        |problem: &'static str| Err(Error::Argument { field: "credential_options", problem: problem.into() });
    match options.map(|options| options.options.as_ref()) {
        None | Some(Some(Options::NoPassword(_) | Options::RandomPassword(_) | Options::Sso(_))) => Ok(()),
        Some(None) => wrong("must have one of its options set; set no_password"),
        Some(Some(Options::EncryptedPassword(_))) => {
            wrong("Retool's REST API accepts no password: set no_password")
        }
    }
}

/// Whether Retool may have refused because it has the account. How it reports that is not established.
fn may_be_a_duplicate(error: &ApiError) -> bool {
    matches!(error.problem, Problem::Refused { status: 400 | 409 | 422, .. } | Problem::Declined { .. })
}

async fn created(
    context: &Context,
    row: Option<User>,
    made: Option<&ApiUser>,
    rate_limit: RateLimit,
    record: &mut Record,
) -> (CreateAccountResponse, Completed) {
    let found = match (row, made) {
        (Some(row), _) => Some(Found::InDatabase(row)),
        // Without the row the answer has no id, but the account exists.
        (None, Some(made)) => {
            provisional(context, made).await.inspect_err(|error| warn(error, record)).ok().flatten()
        }
        (None, None) => None,
    };
    let after = match &found {
        Some(Found::InDatabase(row)) => state(row.enabled),
        // Only Retool's answer shows that the account exists.
        Some(Found::InAnswer(_)) | None => "unverified",
    };
    let resource = found.as_ref().map(|found| known(found.user(), record));
    let answered = match found {
        Some(Found::InDatabase(_)) => Answered::Success(SuccessResult {
            resource,
            is_create_account_result: true,
            ..Default::default()
        }),
        Some(Found::InAnswer(_)) | None => {
            Answered::InProgress(InProgressResult { resource, is_create_account_result: true })
        }
    };
    let completed = Completed { outcome: Outcome::Changed, before: "absent", after };
    (response(answered, vec![rate_limit::annotation(&rate_limit)]), completed)
}

fn warn(error: &Error, record: &Record) {
    if let Verdict::Log { left_out } = record.judge_warning("provisional") {
        tracing::warn!(%error, left_out, "could not determine the id of the new account");
    }
}

fn already_exists(
    row: User,
    rate_limit: Option<RateLimit>,
    record: &mut Record,
) -> (CreateAccountResponse, Completed) {
    let state = state(row.enabled);
    let resource = Some(known(&row, record));
    let answered = Answered::AlreadyExists(AlreadyExistsResult { resource, is_create_account_result: true });
    let annotations = rate_limit.iter().map(rate_limit::annotation).collect();
    (response(answered, annotations), Completed { outcome: Outcome::Unchanged, before: state, after: state })
}

/// Describes the change without making it.
async fn rehearse(
    context: &Context,
    api: &Api,
    new: &NewUser,
    record: &mut Record,
) -> Result<(CreateAccountResponse, Completed), Error> {
    let mut rate_limit = RateLimit::UNKNOWN;
    let found = find(api, new, &mut rate_limit).await?;
    if let Some(row) = existing(context, found, new, false).await? {
        let (mut response, completed) = already_exists(row, Some(rate_limit), record);
        response.annotations.insert(0, dry_run("change nothing"));
        return Ok((response, completed));
    }
    let user_type = new.user_type.unwrap_or(UserType::Default);
    let would = format!("create an account of type {} in Retool and invite its user", user_type.as_str());
    let answered = Answered::ActionRequired(ActionRequiredResult {
        message: format!("dry run: would {would}; nothing was done"),
        is_create_account_result: true,
        ..Default::default()
    });
    let completed = Completed { outcome: Outcome::DryRun, before: "absent", after: "created" };
    Ok((response(answered, vec![dry_run(&would), rate_limit::annotation(&rate_limit)]), completed))
}

/// The user as the next listing shows it. Also sets the principal of the change record.
fn known(row: &User, record: &mut Record) -> Resource {
    record.principal(Spelled(row.id).to_string());
    user::resource(row)
}

fn state(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

fn response(result: Answered, annotations: Vec<Any>) -> CreateAccountResponse {
    CreateAccountResponse { annotations, result: Some(result), ..Default::default() }
}
