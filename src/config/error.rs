//! Errors and warnings about the settings, written for operators.

use std::fmt;
use std::path::PathBuf;

use crate::operator_file::shown;

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    Flag(&'static str),
    /// The environment, with the name of the variable.
    Variable(String),
    /// The config file, with the key as written in the file.
    Key {
        /// The key.
        key: String,
        /// The file.
        file: PathBuf,
    },
    /// The configuration that ConductorOne serves, with the key.
    #[cfg(feature = "lambda")]
    Served(&'static str),
    /// The default of the program.
    Default,
}

impl Origin {
    /// Whether an operator wrote the value in this place: a flag, a variable or the config file.
    pub(super) fn is_written(&self) -> bool {
        matches!(self, Self::Flag(_) | Self::Variable(_) | Self::Key { .. })
    }
}

/// The reason why the settings are unusable. The operator can fix each of these errors except
/// [`Error::Internal`], and each ends the process with exit code 2. No message contains a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// A required setting is missing in all sources.
    #[error(
        "{name} is required: set the flag --{name}, the variable {variable} or the \
         key {name} in the config file"
    )]
    Missing {
        /// The setting.
        name: &'static str,
        /// Its variable.
        variable: String,
    },
    /// A value is invalid for its setting.
    #[error("{name} ({origin}): {problem}; accepted: {accepted}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// The source of the value.
        origin: Origin,
        /// The problem, without the value if it is secret.
        problem: String,
        /// The valid values.
        accepted: String,
    },
    /// Only one of two settings that require each other is set.
    #[error(
        "{given} ({origin}) requires {missing}: set the flag --{missing}, the variable {variable} or the key \
         {missing} in the config file; accepted: both or neither"
    )]
    Alone {
        /// The setting that is set.
        given: &'static str,
        /// Its source.
        origin: Origin,
        /// The missing setting.
        missing: &'static str,
        /// The variable of the missing setting.
        variable: String,
    },
    /// A setting is set without another setting that it needs.
    #[error(
        "{given} ({origin}) requires {missing}: set the flag --{missing}, the variable {variable} or the \
         key {missing} in the config file"
    )]
    Without {
        /// The setting that is set.
        given: &'static str,
        /// Its source.
        origin: Origin,
        /// The missing setting.
        missing: &'static str,
        /// The variable of the missing setting.
        variable: String,
    },
    /// Two mutually exclusive settings are both set.
    #[error("{given} ({origin}) and {other} are mutually exclusive: set only one of them")]
    Exclusive {
        /// One of the settings.
        given: &'static str,
        /// Its source.
        origin: Origin,
        /// The other setting.
        other: &'static str,
    },
    /// The value of a flag that requests a change is empty, for example because a shell variable is not set.
    #[error("{name} ({origin}): the value is empty: give a value, or remove the setting")]
    Empty {
        /// The setting.
        name: &'static str,
        /// Its source.
        origin: Origin,
    },
    /// Two settings contradict each other. The error shows neither value.
    #[error("{given} ({origin}) differs from {other}: give one of them, or the same value in both")]
    Contradiction {
        /// One of the settings.
        given: &'static str,
        /// Its source.
        origin: Origin,
        /// The other setting, or a part of it.
        other: &'static str,
    },
    /// A flag of the Go connector that does not apply to this program.
    #[error("{name} ({origin}) does not apply: {why}")]
    Refused {
        /// The setting.
        name: &'static str,
        /// Its source.
        origin: Origin,
        /// The reason, and the alternative.
        why: &'static str,
    },
    /// A warning that may explain the errors after it.
    #[error("{0}")]
    Hint(Box<Warning>),
    /// Several errors, one per line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Error>),
    /// `BATON_CONFIG_PATH` names a file with an unknown format.
    #[error(
        "variable BATON_CONFIG_PATH: cannot detect the format of {}; \
         accepted: a name ending in .yaml, .yml or .toml",
        shown(path)
    )]
    FileFormat {
        /// The path as given.
        path: PathBuf,
    },
    /// The config file is unreadable or invalid.
    #[error(
        "config file {}{}: {problem}",
        shown(path),
        line.map(|line| format!(", line {line}")).unwrap_or_default()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The line of the problem, starting at 1, if known.
        line: Option<usize>,
        /// The problem. It never contains text from the file, which may be a secret.
        problem: String,
    },
    /// A settings type requires an undeclared setting. This is a bug, not an error of a source.
    #[error("the settings cannot be read: {problem}; this is a bug in baton-retool")]
    Internal {
        /// The mismatch.
        problem: String,
    },
}

impl Error {
    /// Combines these errors into one, without duplicates; `Ok` if there are none.
    pub(super) fn all(errors: Vec<Self>) -> Result<(), Self> {
        let mut several: Vec<Self> = Vec::new();
        for error in errors {
            let parts = match error {
                Self::Several(parts) => parts,
                one => vec![one],
            };
            for part in parts {
                if !several.contains(&part) {
                    several.push(part);
                }
            }
        }
        // If one setting of a pair is missing, the error of the other setting already reports it.
        let named: Vec<&'static str> = several.iter().filter_map(Self::names_as_missing).collect();
        several.retain(|error| !matches!(error, Self::Missing { name, .. } if named.contains(name)));
        match (several.pop(), several.is_empty()) {
            (None, _) => Ok(()),
            (Some(one), true) => Err(one),
            (Some(last), false) => {
                several.push(last);
                Err(Self::Several(several))
            }
        }
    }

    fn names_as_missing(&self) -> Option<&'static str> {
        match self {
            Self::Alone { missing, .. } | Self::Without { missing, .. } => Some(missing),
            _ => None,
        }
    }

    /// Adds the warnings that may explain the error: a misspelled name can be the reason for a missing
    /// setting.
    pub(super) fn explained_by(self, warnings: &[Warning]) -> Self {
        if !self.lacks_something() {
            return self;
        }
        let misspelled = |warning: &&Warning| match warning {
            Warning::UnknownVariable { nearest: Some(_), .. } | Warning::UnknownKey { key: Some(_), .. } => {
                true
            }
            #[cfg(feature = "lambda")]
            Warning::UnknownServedKey { key: Some(_) } => true,
            _ => false,
        };
        let hints = warnings.iter().filter(misspelled).map(|warning| Self::Hint(Box::new(warning.clone())));
        match Self::all(hints.chain([self]).collect()) {
            Ok(()) => Self::Several(Vec::new()),
            Err(error) => error,
        }
    }

    fn lacks_something(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::Alone { .. } | Self::Without { .. } => true,
            Self::Several(errors) => errors.iter().any(Self::lacks_something),
            _ => false,
        }
    }

    /// All errors, one by one.
    pub(crate) fn each(&self) -> Vec<&Self> {
        match self {
            Self::Several(errors) => errors.iter().collect(),
            one => vec![one],
        }
    }
}

/// A misspelled name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misspelled {
    /// The name as given.
    pub(super) given: String,
    /// The most similar known name.
    pub(super) meant: &'static str,
}

/// A probable mistake of the operator that does not prevent a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The config file has an unknown key.
    UnknownKey {
        /// The key, if it is close to a known name. Any other key may be a misplaced secret.
        key: Option<Misspelled>,
        /// The file.
        file: PathBuf,
    },
    /// The served configuration has an unknown key.
    #[cfg(feature = "lambda")]
    UnknownServedKey {
        /// The key, if it is close to a known name. Any other key may be a misplaced secret.
        key: Option<Misspelled>,
    },
    /// An unknown variable has the prefix of this program's variables.
    UnknownVariable {
        /// The variable.
        name: String,
        /// The most similar known variable, if any.
        nearest: Option<String>,
    },
    /// A keyword that a setting does not accept; another value is used, as an exception (decision
    /// wrong-settings-end-the-program).
    UnknownWord {
        /// The setting.
        name: &'static str,
        /// The source of the keyword.
        origin: Origin,
        /// The keyword.
        word: String,
        /// The value in use.
        used: String,
        /// The valid values.
        accepted: String,
    },
    /// Another setting replaces it.
    Deprecated {
        /// The setting.
        name: &'static str,
        /// Its source.
        origin: Origin,
        /// The other setting.
        instead: &'static str,
    },
    /// A setting of the Go connector that is accepted without effect.
    Idle {
        /// The setting.
        name: &'static str,
        /// Its source.
        origin: Origin,
        /// The reason why it has no effect.
        why: &'static str,
    },
    /// The token of the REST API would be sent over a network without encryption.
    ClearText {
        /// The host that would receive it.
        host: String,
    },
}

fn unknown_key(f: &mut fmt::Formatter<'_>, key: Option<&Misspelled>) -> fmt::Result {
    match key {
        Some(Misspelled { given, meant }) => {
            write!(f, "unknown key {given} is ignored; did you mean {meant}?")
        }
        None => f.write_str(
            "an unknown key is ignored; the key is withheld, because it is not close to any name and may be a \
             secret",
        ),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Key { key, file } => write!(f, "key {key} of {}", shown(file)),
            #[cfg(feature = "lambda")]
            Self::Served(key) => write!(f, "key {key} of the served configuration"),
            Self::Default => write!(f, "default"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, file } => {
                write!(f, "config file {}: ", shown(file))?;
                unknown_key(f, key.as_ref())
            }
            #[cfg(feature = "lambda")]
            Self::UnknownServedKey { key } => {
                f.write_str("served configuration: ")?;
                unknown_key(f, key.as_ref())
            }
            Self::UnknownVariable { name, nearest: Some(nearest) } => {
                write!(f, "unknown variable {name} is ignored; did you mean {nearest}?")
            }
            Self::UnknownVariable { name, nearest: None } => {
                write!(f, "unknown variable {name} has no effect")
            }
            Self::UnknownWord { name, origin, word, used, accepted } => {
                write!(f, "{name} ({origin}): {word:?} is unknown, using {used}; accepted: {accepted}")
            }
            Self::Deprecated { name, origin, instead } => {
                write!(f, "{name} ({origin}) is deprecated: use {instead}")
            }
            Self::Idle { name, origin, why } => write!(f, "{name} ({origin}) has no effect: {why}"),
            Self::ClearText { host } => {
                write!(f, "retool-api-base-url: http sends the API token to {host} unencrypted; use https")
            }
        }
    }
}
