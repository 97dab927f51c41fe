//! Retool's tables: one file for each family, with its statements, its rows and the functions that run them.

pub mod admins;
pub mod groups;
mod managed_groups;
pub mod memberships;
pub mod organizations;
pub mod page_access;
pub mod pages;
pub mod resources;
pub mod users;
