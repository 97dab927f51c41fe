//! ConductorOne requests a new introduction. The introduction replaces the report.

use crate::agent::service::context::Context;
use crate::agent::service::hello;
use crate::agent::service::outcome::Outcome;

pub(super) async fn hello(context: &Context, task_id: &str) -> Outcome {
    let metadata = match hello::metadata(&context.connector).await {
        Ok(metadata) => metadata,
        Err(status) => return Outcome::unreported(&status),
    };
    match context.api.hello(hello::request(&context.api, task_id, metadata)).await {
        Ok(()) => Outcome::Known,
        Err(error) => Outcome::Unreported(error.to_string()),
    }
}
