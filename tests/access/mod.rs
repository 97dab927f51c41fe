//! Listings of resources, entitlements and grants of Retool, rule by rule and for any page size.

mod groups_and_users;
mod identity;
mod isolation;
mod oracle;
mod pages_and_resources;
mod paging;
mod profiles;
mod shared_resources;
