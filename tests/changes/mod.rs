//! Grants and revokes of memberships and page access, with their records, races and faults.

pub(crate) mod faults;
mod groups;
mod model;
mod pages;
mod planted;
mod races;
mod record;
mod users;
mod writes;
