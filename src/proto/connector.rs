//! The package `c1.connector.v2`, with the answer to ListGrants that is written by hand.

pub use crate::proto::c1::connector::v2::*;
pub use crate::proto::grants::GrantsServiceListGrantsResponse;
