//! Text that several statements share.

/// The statement with `{@name}` replaced by the text.
pub(crate) fn fill(statement: &str, name: &str, text: &str) -> String {
    statement.replace(&format!("{{@{name}}}"), text)
}
