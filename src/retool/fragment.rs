//! Texts that several statements share.

/// The statement with this text in place of `{@name}`.
pub(crate) fn fill(statement: &str, name: &str, text: &str) -> String {
    statement.replace(&format!("{{@{name}}}"), text)
}
