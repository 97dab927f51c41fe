//! The reports of `doctor` for different setups.

mod c1;
mod changes;
mod database;
mod login;
mod rest;
mod settings;
mod tables;
