//! The program as a person or a container runtime meets it.

mod command_line;
mod operator;
