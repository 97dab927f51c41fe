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
            Self::ClearText { host } => {
                write!(f, "retool-api-base-url: http sends the API token to {host} unencrypted; use https")
            }
        }
    }
}
