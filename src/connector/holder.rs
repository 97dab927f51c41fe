//! Holders of entitlements.

use std::convert::Infallible;

use crate::connector::resource_kind::ResourceKind;

/// A user or group with entitlements on a resource. A listing has each holder once, whatever number of groups
/// gives the access (decision one-grant-once).
pub(crate) trait Holder<E>: Send + Sync {
    /// The position in the listing. It is unique to each holder.
    fn order(&self) -> u32;

    /// The holder as a principal: resource type and key.
    fn principal(&self) -> (ResourceKind, u32);

    /// The encoded annotations of the grant of this entitlement; `None` if the holder does not have it.
    fn grant_annotations(&self, entitlement: E) -> Option<&[u8]>;
}

impl<E> Holder<E> for Infallible {
    fn order(&self) -> u32 {
        match *self {}
    }

    fn principal(&self) -> (ResourceKind, u32) {
        match *self {}
    }

    fn grant_annotations(&self, _: E) -> Option<&[u8]> {
        match *self {}
    }
}
