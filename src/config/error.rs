//! What can be wrong with the settings, in words for the person who set them.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    Flag(&'static str),
    /// The environment, under this name.
    Variable(String),
    /// The config file, under this key as it is spelt there.
    Key {
        /// The key.
        key: String,
        /// The file.
        file: PathBuf,
    },
    /// The configuration that ConductorOne serves, under this key.
    #[cfg(feature = "lambda")]
    Served(&'static str),
    /// Nobody set it: the value the program brings along.
    Default,
}

/// Why the settings cannot be used. The operator can fix each of these but [`Error::Internal`], and each ends the
/// process with exit code 2. No message quotes a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// No source gives a setting that the program cannot do without.
    #[error(
        "{name} is required: give the flag --{name}, set the variable {variable}, \
         or write the key {name} in the config file"
    )]
    Missing {
        /// The setting.
        name: &'static str,
        /// Its variable.
        variable: String,
    },
    /// A value is not what its setting accepts.
    #[error("{name} ({origin}): {problem}; accepted: {accepted}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// The source that gave the value.
        origin: Origin,
        /// What is wrong, without the value if it is secret.
        problem: String,
        /// What a person may write instead.
        accepted: String,
    },
    /// One of two settings that only work together was given alone.
    #[error(
        "{given} ({origin}) needs {missing} as well: give the flag --{missing}, set the variable {variable}, \
         or write the key {missing} in the config file; accepted: both or neither"
    )]
    Alone {
        /// The setting that was given.
        given: &'static str,
        /// The source that gave it.
        origin: Origin,
        /// The setting that was not.
        missing: &'static str,
        /// The variable of the missing one.
        variable: String,
    },
    /// A setting was given without the one that gives it a meaning.
    #[error(
        "{given} ({origin}) means nothing without {missing}: give the flag --{missing}, set the variable \
         {variable}, or write the key {missing} in the config file"
    )]
    Without {
        /// The setting that was given.
        given: &'static str,
        /// The source that gave it.
        origin: Origin,
        /// The setting that was not.
        missing: &'static str,
        /// The variable of the missing one.
        variable: String,
    },
    /// Two settings that say the same in different ways were both given.
    #[error("{given} ({origin}) and {other} are mutually exclusive: give one of them")]
    Exclusive {
        /// One of them.
        given: &'static str,
        /// The source that gave it.
        origin: Origin,
        /// The other.
        other: &'static str,
    },
    /// A flag of the former program that cannot apply here.
    #[error("{name} ({origin}) does not apply: {why}")]
    Refused {
        /// The setting.
        name: &'static str,
        /// The source that gave it.
        origin: Origin,
        /// Why, and what there is instead.
        why: &'static str,
    },
    /// What may explain the errors that follow.
    #[error("{0}")]
    Hint(Box<Warning>),
    /// Several of these, one on each line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Error>),
    /// `BATON_CONFIG_PATH` names a file of no known format.
    #[error(
        "variable BATON_CONFIG_PATH: cannot tell the format of {}; \
         accepted: a name ending in .yaml, .yml or .toml",
        path.display()
    )]
    FileFormat {
        /// The path as given.
        path: PathBuf,
    },
    /// The config file cannot be read or understood.
    #[error(
        "config file {}{}: {problem}",
        path.display(),
        line.map(|line| format!(", line {line}")).unwrap_or_default()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The line with the fault, from 1, where the fault has a line.
        line: Option<usize>,
        /// What is wrong. Never text from the file, which may be a secret.
        problem: String,
    },
    /// A settings type asks for what is not declared. No source is to blame.
    #[error("the settings cannot be read: {problem}; this is an error in baton-retool")]
    Internal {
        /// What does not fit.
        problem: String,
    },
}

impl Error {
    /// One error for all of these, each told once; none for none.
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
        // One half of a pair says that the other is missing.
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

    /// The same, after what may explain it: a setting is missing where a misspelt one was found.
    pub(super) fn explained_by(self, warnings: &[Warning]) -> Self {
        if !self.lacks_something() {
            return self;
        }
        let misspelt = |warning: &&Warning| match warning {
            Warning::UnknownVariable { .. } | Warning::UnknownKey { nearest: Some(_), .. } => true,
            #[cfg(feature = "lambda")]
            Warning::UnknownServedKey { nearest: Some(_), .. } => true,
            _ => false,
        };
        let hints = warnings.iter().filter(misspelt).map(|warning| Self::Hint(Box::new(warning.clone())));
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

    /// Each of the errors in turn.
    pub(crate) fn each(&self) -> Vec<&Self> {
        match self {
            Self::Several(errors) => errors.iter().collect(),
            one => vec![one],
        }
    }
}

/// Something an operator probably did not mean, though the program can run with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The config file has a key that means nothing here.
    UnknownKey {
        /// The key, if it is fit to be shown.
        key: Option<String>,
        /// The file.
        file: PathBuf,
        /// The known key it resembles most, if any.
        nearest: Option<&'static str>,
    },
    /// The served configuration has a key that means nothing here.
    #[cfg(feature = "lambda")]
    UnknownServedKey {
        /// The key, if it is fit to be shown.
        key: Option<String>,
        /// The known key it resembles most, if any.
        nearest: Option<&'static str>,
    },
    /// A variable that means nothing here is almost the name of one that does.
    UnknownVariable {
        /// The variable.
        name: String,
        /// The variable it resembles most.
        nearest: String,
    },
    /// A word that is not among those a setting accepts; something else is used.
    UnknownWord {
        /// The setting.
        name: &'static str,
        /// The source that gave the word.
        origin: Origin,
        /// The word.
        word: String,
        /// What is used instead.
        used: String,
        /// What a person may write.
        accepted: String,
    },
    /// Another setting does it better.
    Deprecated {
        /// The setting.
        name: &'static str,
        /// The source that gave it.
        origin: Origin,
        /// The other.
        instead: &'static str,
    },
    /// A setting of the former program that is accepted without effect.
    Idle {
        /// The setting.
        name: &'static str,
        /// The source that gave it.
        origin: Origin,
        /// Why it has none.
        why: &'static str,
    },
    /// The REST API's token would cross a network unencrypted.
    ClearText {
        /// The host it would be sent to.
        host: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Key { key, file } => write!(f, "key {key} of {}", file.display()),
            #[cfg(feature = "lambda")]
            Self::Served(key) => write!(f, "key {key} of the served configuration"),
            Self::Default => write!(f, "default"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, file, nearest } => {
                match key {
                    Some(key) => write!(f, "config file {}: unknown key {key} is ignored", file.display())?,
                    None => write!(f, "config file {}: a key that is no name is ignored", file.display())?,
                }
                match nearest {
                    Some(nearest) => write!(f, "; did you mean {nearest}?"),
                    None => Ok(()),
                }
            }
            #[cfg(feature = "lambda")]
            Self::UnknownServedKey { key, nearest } => {
                let key = key.as_deref().unwrap_or("that is no name");
                write!(f, "served configuration: unknown key {key} is ignored")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean {nearest}?"),
                    None => Ok(()),
                }
            }
            Self::UnknownVariable { name, nearest } => {
                write!(f, "unknown variable {name} is ignored; did you mean {nearest}?")
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
