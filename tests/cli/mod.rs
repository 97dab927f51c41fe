//! The program as a person or a container runtime runs it.

mod command_line;
mod completion;
mod demo;
mod documents;
mod help;
mod one_shot;
mod operator;
mod parity;
