//! The resource types of this connector, one file each.

pub(crate) mod group;
pub(crate) mod organization;
pub(crate) mod page;
pub(crate) mod resource;
pub(crate) mod user;
