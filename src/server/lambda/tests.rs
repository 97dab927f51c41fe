#![allow(clippy::unwrap_used, clippy::panic)]

mod callers;
mod events;
mod function;
mod fuzz;
mod reloads;
