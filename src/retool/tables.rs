//! Retool's tables. Each file has the statements of one family, their rows, and the functions that run them.

pub(crate) mod admins;
pub(crate) mod groups;
mod listing;
pub(crate) mod managed_groups;
pub(crate) mod memberships;
pub(crate) mod organizations;
pub(crate) mod page_access;
pub(crate) mod pages;
pub(crate) mod resources;
pub(crate) mod users;

pub(crate) use listing::{Page, Users};
