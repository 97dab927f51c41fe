//! The program as a person or a container runtime runs it.

mod command_line;
mod demo;
mod operator;
