//! Errors in an argument of a request.

use std::borrow::Cow;

use crate::private_text::PrivateText as CallerText;

/// The problem and the valid values, as the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgumentProblem {
    /// The id does not belong to an entitlement on a resource of the type.
    #[error("{given} is not an entitlement of {resource}, which has {known}")]
    UnknownEntitlement {
        /// The id.
        given: CallerText,
        /// The type and the id of the resource.
        resource: CallerText,
        /// The ids of the entitlements that the resource has.
        known: String,
    },
    /// The entitlement is not on the resource in the request.
    #[error("{entitlement} is an entitlement on a resource other than {resource}")]
    OtherResource {
        /// The entitlement's id.
        entitlement: CallerText,
        /// The resource's id.
        resource: CallerText,
    },
    /// The slug is not the entitlement's slug.
    #[error("{given} is not the slug of {entitlement}, which is {slug:?}")]
    WrongSlug {
        /// The slug.
        given: CallerText,
        /// The entitlement's id.
        entitlement: CallerText,
        /// Its slug.
        slug: String,
    },
    /// The entitlement is not granted to principals of this type.
    #[error("{entitlement} is granted to a {expected}, not to a {given}")]
    WrongPrincipal {
        /// The entitlement's id.
        entitlement: CallerText,
        /// The id of the principal's type.
        given: CallerText,
        /// The id of the type it is granted to.
        expected: &'static str,
    },
    /// The id of the grant does not match its entitlement and principal.
    #[error("{given} is not the id of the grant of this entitlement to this principal, which is {expected}")]
    OtherGrant {
        /// The id.
        given: CallerText,
        /// The expected id.
        expected: CallerText,
    },
    /// Any other problem, in text that repeats nothing from the request.
    #[error("{0}")]
    Other(Cow<'static, str>),
}

impl From<&'static str> for ArgumentProblem {
    fn from(text: &'static str) -> Self {
        Self::Other(text.into())
    }
}

impl From<String> for ArgumentProblem {
    fn from(text: String) -> Self {
        Self::Other(text.into())
    }
}
