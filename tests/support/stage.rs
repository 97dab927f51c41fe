//! The real program with a Postgres and the double of Retool's REST API.
//!
//! When it is dropped, it checks the rules for all tests of accounts and actions: no request was unknown to
//! Retool, and no log line contains the token or personal data. For each failed call without an action of
//! Retool, it checks that no row has changed.

use std::time::Duration;

use baton_retool::proto::connector::create_account_response::Result as Created;
use baton_retool::proto::connector::{
    AccountInfo, BatonActionStatus, ConnectorServiceValidateRequest, ConnectorServiceValidateResponse,
    CreateAccountRequest, CreateAccountResponse, GetActionStatusRequest, GetActionStatusResponse,
    InvokeActionRequest, InvokeActionResponse, Resource, ResourceId,
};
use baton_retool::proto::ratelimit::RateLimitDescription;
use baton_retool::proto::{find_annotation, string, structure};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, Struct, Value};
use tonic::Status;

use super::changes::Tables;
use super::postgres::Database;
use super::retool_api::{RetoolApi, TOKEN};
use super::server::Server;
use super::wire::{Wire, id};

/// Everything for a test of accounts and actions. Fields are dropped in order, the caller first.
pub(crate) struct Stage {
    pub(crate) wire: Wire,
    pub(crate) server: Server,
    pub(crate) api: RetoolApi,
    pub(crate) database: Database,
}

impl Stage {
    /// The small organization, with provisioning enabled.
    pub(crate) async fn new() -> Self {
        Self::with(&["--provisioning"]).await
    }

    /// The small organization, with these settings.
    pub(crate) async fn with(flags: &[&str]) -> Self {
        let database = Database::small().await;
        let url = database.url();
        Self::serve(database, &url, flags).await
    }

    /// Any organization, with any connection string.
    pub(crate) async fn serve(database: Database, connection_string: &str, flags: &[&str]) -> Self {
        let api = RetoolApi::start(&database);
        Self::between(database, api, &[], connection_string, flags).await
    }

    /// Any organization and any double, with these environment variables for the program.
    pub(crate) async fn between(
        database: Database,
        api: RetoolApi,
        environment: &[(&str, &str)],
        connection_string: &str,
        flags: &[&str],
    ) -> Self {
        let rest = api.flags();
        let flags: Vec<_> = rest.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let server = Server::start_with(environment, connection_string, &flags);
        let wire = Wire::to(&server).await;
        Self { wire, server, api, database }
    }

    pub(crate) async fn create(
        &self,
        request: &CreateAccountRequest,
    ) -> Result<CreateAccountResponse, Status> {
        self.watched(self.wire.call("AccountManagerService/CreateAccount", request), Result::is_err).await
    }

    /// Runs an action on a user until it ends.
    pub(crate) async fn act(&self, name: &str, user: &str) -> InvokeActionResponse {
        self.invoke(&action(name, user)).await.unwrap()
    }

    /// Starts an action on a user; the answer arrives after a second.
    pub(crate) async fn act_without_waiting(&self, name: &str, user: &str) -> InvokeActionResponse {
        let request = InvokeActionRequest { inline_wait: None, ..action(name, user) };
        self.invoke(&request).await.unwrap()
    }

    pub(crate) async fn invoke(&self, request: &InvokeActionRequest) -> Result<InvokeActionResponse, Status> {
        let call = self.wire.call("ActionService/InvokeAction", request);
        let failed = |answer: &Result<InvokeActionResponse, Status>| {
            answer.as_ref().map_or(true, |answer| answer.status() == BatonActionStatus::Failed)
        };
        self.watched(call, failed).await
    }

    /// Makes the call. If it fails and Retool has done nothing, no row may have changed.
    async fn watched<T>(&self, call: impl Future<Output = T>, failed: impl Fn(&T) -> bool) -> T {
        let (before, changes) = (self.tables().await, self.api.changes());
        let answer = call.await;
        if failed(&answer) && self.api.changes() == changes {
            before.assert_same(&self.tables().await);
        }
        answer
    }

    pub(crate) async fn status(&self, id: &str) -> Result<GetActionStatusResponse, Status> {
        let request = GetActionStatusRequest { id: id.to_owned(), ..Default::default() };
        self.wire.call("ActionService/GetActionStatus", &request).await
    }

    pub(crate) async fn validate(&self) -> Result<ConnectorServiceValidateResponse, Status> {
        self.wire.call("ConnectorService/Validate", &ConnectorServiceValidateRequest::default()).await
    }

    /// A user of the first organization, as listed.
    pub(crate) async fn listed(&self, user: &str) -> Option<Resource> {
        let users = self.wire.resources("user", Some(id("org", "o1")), 250, "").await.unwrap().list;
        users.into_iter().find(|found| found.id.as_ref().unwrap().resource == user)
    }

    /// Whether the account is enabled.
    pub(crate) async fn enabled(&self, user: i32) -> bool {
        let reader = self.database.reader().await;
        reader.query_one("SELECT enabled FROM users WHERE id = $1", &[&user]).await.unwrap().get(0)
    }

    /// The audit records in the log, without the parts that differ between runs.
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        let records = self.server.logs().into_iter().filter(|line| line["msg"] == "change");
        records.collect()
    }

    pub(crate) async fn tables(&self) -> Tables {
        Tables::of(&self.database).await
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.api.faults(), Vec::<String>::new());
        for line in self.server.logs() {
            let text = line.to_string();
            for secret in [TOKEN, "Bearer", "@acme.example", "@example.com", "%40", "Lovelace", "lovelace"] {
                assert!(!text.contains(secret), "{secret} in the log: {text}");
            }
        }
    }
}

/// The account form of Ada Lovelace.
pub(crate) fn ada() -> CreateAccountRequest {
    form(&[
        ("email", string("ada@example.com")),
        ("first_name", string("Ada")),
        ("last_name", string("Lovelace")),
    ])
}

/// The same form with another address.
pub(crate) fn with_email(email: &str) -> CreateAccountRequest {
    let mut request = ada();
    let profile = request.account_info.as_mut().unwrap().profile.as_mut().unwrap();
    profile.fields.insert("email".to_owned(), string(email));
    request
}

/// A filled form.
pub(crate) fn form(fields: &[(&str, Value)]) -> CreateAccountRequest {
    let profile = structure(fields.iter().map(|(key, value)| (*key, value.clone())));
    let account = AccountInfo { profile: Some(profile), ..Default::default() };
    CreateAccountRequest { account_info: Some(account), ..Default::default() }
}

/// A request for an action on a user that waits for its end.
pub(crate) fn action(name: &str, user: &str) -> InvokeActionRequest {
    action_on(name, &[("resource_type_id", string("user")), ("resource_id", string(user))])
}

/// A request for an action with any value as the user.
pub(crate) fn action_on(name: &str, user: &[(&str, Value)]) -> InvokeActionRequest {
    let user = structure(user.iter().map(|(key, value)| (*key, value.clone())));
    let args = structure([("user_id", Value { kind: Some(Kind::StructValue(user)) })]);
    InvokeActionRequest {
        name: name.to_owned(),
        args: Some(args),
        inline_wait: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..Default::default()
    }
}

/// The kind of an answer, its resource and its flag.
pub(crate) fn result(answer: &CreateAccountResponse) -> (&'static str, Option<Resource>, bool) {
    match answer.result.clone().unwrap() {
        Created::Success(it) => ("success", it.resource, it.is_create_account_result),
        Created::AlreadyExists(it) => ("already exists", it.resource, it.is_create_account_result),
        Created::InProgress(it) => ("in progress", it.resource, it.is_create_account_result),
        Created::ActionRequired(it) => ("action required", it.resource, it.is_create_account_result),
    }
}

/// A text field of an answer; empty if it is missing.
pub(crate) fn text_of(response: Option<&Struct>, key: &str) -> String {
    match response.and_then(|response| response.fields.get(key)).and_then(|value| value.kind.clone()) {
        Some(Kind::StringValue(text)) => text,
        _ => String::new(),
    }
}

/// Asserts that the action is complete and its response reports success.
#[track_caller]
pub(crate) fn assert_complete(answer: &InvokeActionResponse) {
    assert_eq!(answer.status(), BatonActionStatus::Complete, "{answer:?}");
    let success = structure([("success", baton_retool::proto::boolean(true))]);
    assert_eq!(answer.response.as_ref(), Some(&success));
}

/// Asserts that the action failed with these texts; the error starts with the first of them.
#[track_caller]
pub(crate) fn assert_failed(answer: &InvokeActionResponse, words: &[&str]) {
    assert_eq!(answer.status(), BatonActionStatus::Failed, "{answer:?}");
    let error = text_of(answer.response.as_ref(), "error");
    assert!(error.starts_with(words[0]), "{error}");
    for word in words {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
    assert!(!answer.response.as_ref().unwrap().fields.contains_key("success"));
}

/// The rate limits of the API in an answer.
pub(crate) fn limits(annotations: &[Any]) -> Option<RateLimitDescription> {
    find_annotation::<RateLimitDescription>(annotations).map(Result::unwrap)
}

/// The rate limits of the API in an error.
pub(crate) fn limits_of(status: &Status) -> Option<RateLimitDescription> {
    let details = tonic_types::pb::Status::decode(status.details()).unwrap();
    assert_eq!((details.code, details.message.as_str()), (status.code().into(), status.message()));
    limits(&details.details)
}

/// The id of a user's resource.
pub(crate) fn user_of(resource: &Option<Resource>) -> ResourceId {
    resource.as_ref().unwrap().id.clone().unwrap()
}

/// Long enough for any successful operation, short enough for a test.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
