//! What `doctor` reports of each set-up.

mod changes;
mod database;
mod login;
mod rest;
mod settings;
mod tables;
