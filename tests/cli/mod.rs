//! The program as run by a user or a container runtime.

mod command_line;
mod completion;
mod demo;
mod documents;
mod fatal;
mod help;
mod interrupted;
mod invalid_settings;
mod one_shot;
mod operator;
mod parity;
