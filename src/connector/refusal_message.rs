//! Messages about refused changes for callers.
//!
//! The modules of Retool's database depend neither on the flags of the program nor on who creates managed groups, so this
//! module adds both.

use crate::retool::change::Refusal;

/// The refusal in one line, with the fix if there is one.
pub(crate) fn refusal_message(refusal: &Refusal) -> String {
    match refusal {
        Refusal::DisabledUser(user) => format!(
            "user {user} is disabled in Retool, and --skip-disabled-users excludes disabled users: enable the user first"
        ),
        Refusal::NotManaged { group, name, problem } => format!(
            "group {group} has the name of a group that baton-retool creates, {name}, but differs from it: {problem}; rename or repair it in Retool"
        ),
        other => other.to_string(),
    }
}
