//! CreateAccount without an account: nothing changes, and mostly nothing is sent.

use baton_retool::proto::connector::credential_options::{EncryptedPassword, Options};
use baton_retool::proto::connector::{
    CreateAccountRequest, CreateAccountResponse, CredentialOptions, EncryptedData,
};
use baton_retool::proto::{boolean, number, string};
use prost_types::Value;
use prost_types::value::Kind;
use tonic::Code;

use crate::support::postgres::Database;
use crate::support::server::Server;
use crate::support::stage::{Stage, ada, form, with_email};
use crate::support::wire::{Wire, assert_refused};

/// Ada's form with another value in one field; `None` removes the field.
fn with(key: &str, value: Option<Value>) -> CreateAccountRequest {
    let mut request = ada();
    let fields = &mut request.account_info.as_mut().unwrap().profile.as_mut().unwrap().fields;
    match value {
        Some(value) => drop(fields.insert(key.to_owned(), value)),
        None => drop(fields.remove(key)),
    }
    request
}

#[tokio::test]
async fn refuses_an_invalid_form_field_by_name_before_any_request_to_retool() {
    let stage = Stage::new().await;
    let before = stage.tables().await;
    let null = Value { kind: Some(Kind::NullValue(0)) };
    let long = "a".repeat(256);
    let mut refused = vec![
        (CreateAccountRequest::default(), "email"),
        (form(&[]), "email"),
        (with("email", Some(string("not an address"))), "email"),
        (with("email", Some(string("a@b@c"))), "email"),
        (with("email", Some(string("Ada <ada@example.com>"))), "email"),
        (with("email", Some(string(format!("{long}@example.com")))), "email"),
        (with("first_name", Some(string(long.as_str()))), "first_name"),
        (with("last_name", Some(string("Love\nlace"))), "last_name"),
        (with("user_type", Some(string("admin"))), "user_type"),
        (with("user_type", Some(number(1.0))), "user_type"),
        (with("user_type", Some(boolean(false))), "user_type"),
    ];
    for key in ["email", "first_name", "last_name"] {
        for value in [None, Some(string("")), Some(string(" \t\n ")), Some(null.clone()), Some(number(5.0))] {
            refused.push((with(key, value), key));
        }
    }
    for (request, field) in refused {
        let status = assert_refused(stage.create(&request).await, Code::InvalidArgument, &[field]);
        assert!(!status.message().contains("Ada") && !status.message().contains("aaa"), "{status:?}");
    }
    assert_eq!(stage.api.methods(), Vec::<String>::new());
    assert_eq!(stage.tables().await, before);
    let records = stage.records();
    // The lines about invalid changes are limited to 20 in 10 seconds.
    assert!((20..=11 + 3 * 5).contains(&records.len()), "{} lines", records.len());
    assert!(
        records.iter().all(|one| one["outcome"] == "refused" && one["reason"] == "argument"),
        "{records:?}"
    );
}

#[tokio::test]
async fn a_blank_user_type_is_not_sent() {
    let stage = Stage::new().await;
    for (count, value) in
        [string(""), string("  "), Value { kind: Some(Kind::NullValue(0)) }].into_iter().enumerate()
    {
        let mut request = with("user_type", Some(value));
        let fields = &mut request.account_info.as_mut().unwrap().profile.as_mut().unwrap().fields;
        fields.insert("email".to_owned(), string(format!("ada{count}@example.com")));
        stage.create(&request).await.unwrap();
        assert!(stage.api.seen()[0].body.get("user_type").is_none());
    }
}

#[tokio::test]
async fn checks_of_a_request_run_in_a_fixed_order() {
    let stage = Stage::new().await;
    let before = stage.tables().await;
    let nothing = Some(CredentialOptions::default());
    let password = Some(CredentialOptions {
        options: Some(Options::EncryptedPassword(EncryptedPassword {
            encrypted_passwords: vec![EncryptedData::default()],
        })),
        ..Default::default()
    });
    let empty = CreateAccountRequest::default();
    let group = "group".to_owned();
    for (request, code, words) in [
        (
            CreateAccountRequest {
                resource_type_id: group,
                credential_options: nothing.clone(),
                ..empty.clone()
            },
            Code::Unimplemented,
            "resource type user",
        ),
        (
            CreateAccountRequest { credential_options: nothing, ..empty.clone() },
            Code::InvalidArgument,
            "credential_options",
        ),
        (
            CreateAccountRequest { credential_options: password, ..ada() },
            Code::InvalidArgument,
            "accepts no password",
        ),
        (empty, Code::InvalidArgument, "email"),
    ] {
        assert_refused(stage.create(&request).await, code, &[words]);
    }
    assert_eq!(stage.api.methods(), Vec::<String>::new());
    assert_eq!(stage.tables().await, before);
}

#[tokio::test]
async fn create_account_without_a_rest_api_names_the_missing_settings() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--provisioning"]);
    let wire = Wire::to(&server).await;
    let create = async |request: &CreateAccountRequest| {
        wire.call::<CreateAccountResponse>("AccountManagerService/CreateAccount", request).await
    };
    let settings = ["--retool-api-base-url", "--retool-api-token"];
    assert_refused(create(&ada()).await, Code::FailedPrecondition, &settings);
    // Errors in the form are reported first.
    assert_refused(create(&with_email("ada")).await, Code::InvalidArgument, &["email"]);
}

#[tokio::test]
async fn does_not_validate_the_request_while_provisioning_is_off() {
    let stage = Stage::with(&[]).await;
    let before = stage.tables().await;
    for request in [ada(), CreateAccountRequest { resource_type_id: "group".to_owned(), ..ada() }] {
        assert_refused(
            stage.create(&request).await,
            Code::FailedPrecondition,
            &["provisioning is not enabled"],
        );
    }
    assert_eq!(stage.api.methods(), Vec::<String>::new());
    assert_eq!(stage.tables().await, before);
    assert!(stage.records().iter().all(|record| record["reason"] == "provisioning_disabled"));
}

#[tokio::test]
async fn a_role_without_select_on_sid_gets_the_grant_before_any_account_is_created() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    let columns =
        r#"id, email, "firstName", "lastName", "userName", enabled, "lastLoggedIn", "organizationId""#;
    database
        .execute(&format!(
            "REVOKE SELECT ON users FROM {0}; GRANT SELECT ({columns}) ON users TO {0}",
            role.name
        ))
        .await;
    let url = database.url_as(&role);
    let stage = Stage::serve(database, &url, &["--provisioning"]).await;
    let before = stage.tables().await;
    let grant = format!("GRANT SELECT (sid) ON users TO {};", role.name);
    assert_refused(stage.create(&ada()).await, Code::FailedPrecondition, &[&grant]);
    assert_eq!(stage.api.methods(), Vec::<String>::new());
    assert_eq!(stage.tables().await, before);
    // Listings work without it, and no warning is logged for a feature that is not used.
    stage.validate().await.unwrap();
    assert!(stage.listed("u5").await.is_some());
    stage.database.execute(&grant).await;
    stage.create(&ada()).await.unwrap();
}
