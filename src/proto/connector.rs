//! The package `c1.connector.v2`, with a handwritten response of ListGrants.

pub use crate::proto::c1::connector::v2::*;
pub use crate::proto::grants::GrantsServiceListGrantsResponse;
