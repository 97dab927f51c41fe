//! Accounts and actions, which use Retool's REST API.

mod action_runs;
mod actions;
mod create;
mod large_answers;
mod refusals;
mod rest_errors;
mod rest_setup;
