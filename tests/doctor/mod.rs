//! What `doctor` reports for each setup.

mod c1;
mod changes;
mod database;
mod login;
mod rest;
mod settings;
mod tables;
