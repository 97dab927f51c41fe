//! The connector's actions and their names.

/// An action of this connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    EnableUser,
    DisableUser,
}

impl Action {
    const ALL: [Self; 2] = [Self::EnableUser, Self::DisableUser];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EnableUser => "enable_user",
            Self::DisableUser => "disable_user",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// Whether the action enables the account.
    pub(crate) fn enables(self) -> bool {
        self == Self::EnableUser
    }
}
