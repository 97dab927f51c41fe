//! Objects of other roles that Postgres can use in place of its own or Retool's.

use std::fmt;

use crate::postgres::identifier::quoted;

/// An operator, a function, a table or a type to which an unqualified name in a trigger can resolve. Its
/// owner has no rights over Retool's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShadowingObject {
    /// `operator`, `function`, `table` or `type`.
    pub(crate) kind: String,
    /// Its schema, as Postgres spells it.
    pub(crate) schema: String,
    /// Its name, which is also the name of the object that it shadows.
    pub(crate) name: String,
    /// The role that owns it.
    pub(crate) owner: String,
}

impl fmt::Display for ShadowingObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, schema, name, owner } = self;
        let name = if kind == "operator" { name.clone() } else { quoted(name) };
        write!(f, "{kind} {}.{name} of role {}", quoted(schema), quoted(owner))
    }
}

/// The objects in one line.
pub(crate) fn listed(shadowing_objects: &[ShadowingObject]) -> String {
    shadowing_objects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
