//! Walks an organization as an agent does and prints what it costs.

fn main() {}
