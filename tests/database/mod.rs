//! Connections to Postgres: TLS, poolers, outages, sessions and the privileges of the role.

mod certificates;
mod encryption;
mod failover;
mod outages;
mod pooler;
mod privileges;
mod sessions;
mod shadows;
