//! Connections to Postgres: TLS, poolers, outages, sessions and what the role may do.

mod certificates;
mod encryption;
mod failover;
mod outages;
mod pooler;
mod privileges;
mod sessions;
mod shadows;
