//! What a caller reads when a change is refused.
//!
//! Retool's own modules know neither our flags nor who makes managed groups, so that is added here.

use crate::retool::change::Refusal;

/// The refusal in one line, with the way to fix it where there is one.
pub(crate) fn refusal_message(refusal: &Refusal) -> String {
    match refusal {
        Refusal::DisabledUser(user) => format!(
            "user {user} is disabled in Retool, and --skip-disabled-users leaves such users out: enable the user first"
        ),
        Refusal::NotManaged { group, name, problem } => format!(
            "group {group} has the name of a group that baton-retool makes, {name}, and is not as it was made: {problem}; rename or repair it in Retool"
        ),
        other => other.to_string(),
    }
}
