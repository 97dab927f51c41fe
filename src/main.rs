//! The `baton-retool` program.
fn main() {}
