//! The resource types by name, and the primary keys of their resources.

use std::fmt::{self, Display};

use crate::retool::id::{GroupId, OrganizationId, OutOfRange, PageId, ResourceId, UserId};

/// A primary key of a table whose rows are resources in baton.
pub(crate) trait Identity:
    TryFrom<i64, Error = OutOfRange> + Display + Copy + PartialEq + Send
{
    /// The type of the resource.
    const KIND: ResourceKind;

    /// The key; always positive.
    fn number(self) -> u32;
}

macro_rules! resource_kinds {
    ($($(#[$meta:meta])* $name:ident($key:ty) = $type_id:literal, $letter:literal;)+) => {
        /// The resource types of this connector, in the order in which they are listed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum ResourceKind {$(
            $(#[$meta])*
            #[doc = concat!("`", $type_id, "`")]
            $name,
        )+}

        impl ResourceKind {
            const ALL: &[Self] = &[$(Self::$name),+];

            /// The ids of all resource types.
            pub(crate) const TYPE_IDS: &[&str] = &[$($type_id),+];

            /// The id of the resource type.
            pub(crate) fn type_id(self) -> &'static str {
                match self {$(Self::$name => $type_id,)+}
            }

            /// The first letter of the ids of such resources.
            pub(crate) fn letter(self) -> char {
                match self {$(Self::$name => $letter,)+}
            }
        }

        $(impl Identity for $key {
            const KIND: ResourceKind = ResourceKind::$name;

            fn number(self) -> u32 {
                self.get().unsigned_abs()
            }
        })+
    };
}

// Never change a name or a letter: reviews and policies are stored under them (decision stable-ids).
resource_kinds! {
    Organization(OrganizationId) = "org", 'o';
    User(UserId) = "user", 'u';
    Group(GroupId) = "group", 'g';
    Page(PageId) = "page", 'p';
    Resource(ResourceId) = "resource", 'r';
}

impl ResourceKind {
    /// The type with this id; `None` if this connector has no such type.
    pub(crate) fn from_type_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.type_id() == id)
    }
}

/// A key in baton's format: the letter of its type, then the number, such as `u42`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spelled<T>(pub T);

impl<T: Identity> Spelled<T> {
    /// Parses a key in this format; `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<T> {
        let digits = text.strip_prefix(T::KIND.letter())?;
        let plain = digits.starts_with(|first: char| matches!(first, '1'..='9'))
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain {
            return None;
        }
        digits.parse::<i64>().ok().and_then(|number| T::try_from(number).ok())
    }
}

impl<T: Identity> Display for Spelled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", T::KIND.letter(), self.0)
    }
}
