//! Those who hold something.

use std::convert::Infallible;

use crate::connector::resource_kind::ResourceKind;

/// Somebody who has entitlements on a resource.
pub(crate) trait Holder<E>: Send + Sync {
    /// Where the holder stands in the listing. Each holder has a number of its own.
    fn order(&self) -> u32;

    /// The holder as a principal: which resource type, and the key.
    fn principal(&self) -> (ResourceKind, u32);

    /// The encoded annotations of the grant of this entitlement; `None` when the holder does not have it.
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
