//! The real program as a function, with doubles of ConductorOne and Lambda, and a Postgres.

use std::path::{Path, PathBuf};
use std::process::Command;

use prost::{Message, Name};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::caller::{Answered, Call, Form, Signer};
use super::runtime::{Lambda, Posted};
use super::{Config, Hosted};
use crate::support::postgres::Database;
use crate::support::server::{Server, built_program, without_settings};

/// An unreachable database, for tests that need none.
pub(crate) const NOWHERE: &str = "postgres://baton@127.0.0.1:1/retool";

/// Another build of the program to test, such as `target/lambda/amd64/bootstrap`.
pub(crate) fn other_program() -> Option<PathBuf> {
    std::env::var_os("RETOOL_LAMBDA_PROGRAM").map(|path| PathBuf::from(path).canonicalize().unwrap())
}

/// The program to test.
pub(crate) fn tested_program() -> PathBuf {
    other_program().unwrap_or_else(built_program)
}

/// The running program. Fields are dropped in order, the program first.
pub(crate) struct Stage {
    pub(crate) function: Server,
    pub(crate) parts: Parts,
}

/// Everything except the program.
pub(crate) struct Parts {
    pub(crate) lambda: Lambda,
    pub(crate) hosted: Hosted,
    pub(crate) signer: Signer,
    pub(crate) folder: TempDir,
    pub(crate) database: Option<Database>,
}

impl Parts {
    /// Everything except the program. Version `cv-1` of the configuration refers to this database.
    pub(crate) async fn new(connection_string: &str) -> Self {
        let hosted = Hosted::start().await;
        hosted.serve("cv-1", Config::of("cv-1", json!({ "connection-string": connection_string })));
        Self {
            lambda: Lambda::start().await,
            hosted,
            signer: Signer::new(),
            folder: tempfile::tempdir().unwrap(),
            database: None,
        }
    }

    /// The program with all its settings.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut program = self.program_at(&tested_program());
        program.arg(name);
        program
    }

    /// The program at this path without arguments, with all its settings.
    pub(crate) fn program_at(&self, path: &Path) -> Command {
        let mut program = without_settings(Command::new(path));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("AWS_")) {
                program.env_remove(name);
            }
        }
        program
            .current_dir(self.folder.path())
            .env("BATON_LAMBDA_CLIENT_ID", self.hosted.client_id())
            .env("BATON_LAMBDA_CLIENT_SECRET", self.hosted.secret())
            .env("BATON_LAMBDA_AUTH_JWT_SIGNER", self.signer.jwk().to_string())
            .env("BATON_LAMBDA_AUTH_JWT_EXPECTED_ISSUER", "test-issuer")
            .env("BATON_LAMBDA_AUTH_JWT_EXPECTED_SUBJECT", "test-subject")
            .env("BATON_LAMBDA_AUTH_JWT_EXPECTED_AUDIENCE", "test-audience")
            .env("BATON_LAMBDA_CA_CERT_PATH", self.hosted.authority())
            .env("AWS_LAMBDA_RUNTIME_API", self.lambda.address().to_string())
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "not-a-real-key")
            .env("AWS_SESSION_TOKEN", "not-a-real-token")
            .env("AWS_REGION", "eu-central-1")
            .env("tenant", "tenant-7");
        program
    }

    pub(crate) fn run(self) -> Stage {
        let function = Server::run(self.program("lambda"));
        Stage { function, parts: self }
    }
}

impl Stage {
    /// A stage without a database.
    pub(crate) async fn nowhere() -> Self {
        Parts::new(NOWHERE).await.run()
    }

    /// A stage with a database.
    pub(crate) async fn before(database: Database) -> Self {
        let mut parts = Parts::new(&database.url()).await;
        parts.database = Some(database);
        parts.run()
    }

    /// The result of an event.
    pub(crate) async fn invoke(&self, event: &Value) -> Posted {
        self.parts.lambda.invoke(event.to_string()).await
    }

    /// Makes a call with a valid token.
    pub(crate) async fn call<M: Message + Name>(&self, method: &str, request: &M, form: Form) -> Answered {
        self.make(Call::of(method, request), form).await
    }

    /// Makes a call with a valid token.
    pub(crate) async fn make(&self, call: Call, form: Form) -> Answered {
        let call = call.with("Authorization", &[&self.parts.signer.token()]);
        self.make_as(call, form).await
    }

    /// Makes a call without adding a token.
    pub(crate) async fn make_as(&self, call: Call, form: Form) -> Answered {
        Answered::read(&self.invoke(&call.event(form)).await, form)
    }
}
