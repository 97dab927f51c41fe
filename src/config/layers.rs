//! The sources, one above the other, and how a value is taken out of them.
//!
//! A value keeps the form its source gave it until it is read by a setting's kind, and keeps its
//! origin with it, since every message about it names both.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;

use super::error::{Error, Origin, Warning};
use super::setting::{Fallback, Setting};
use super::table::ALL;
use super::{file, names};

/// What the settings are read from besides the command line, passed in so that a test can choose it.
pub struct Sources {
    /// The environment. A variable that is set but empty counts as not set.
    pub environment: BTreeMap<String, OsString>,
    /// Where `.baton.yaml` is looked for, and what a relative `BATON_CONFIG_PATH` starts from. Empty
    /// means the process's own working directory.
    pub working_directory: PathBuf,
    /// Whether standard output is a terminal, which decides the default log format
    /// (child-process.md 14).
    pub stdout_is_terminal: bool,
}

/// A value as its source gave it, not yet checked.
pub(super) enum Raw {
    /// Text: all that flags and variables can give.
    Text(String),
    /// A true or false of the file's own.
    Switch(bool),
    /// A whole number of the file's own.
    Whole(i64),
    /// A list of the file's own.
    List(Vec<Raw>),
    /// Something that no setting accepts, named for the message.
    Other(&'static str),
}

/// A value and where it came from.
pub(super) struct Given {
    /// The value.
    pub(super) raw: Raw,
    /// Where it came from.
    pub(super) origin: Origin,
}

/// What one source gives, by the setting's name.
pub(super) type Layer = BTreeMap<&'static str, Given>;

/// All sources, the strongest first.
pub(super) struct Layers([Layer; 3]);

/// A text that was given, or the default, with its origin.
pub(super) struct Text {
    /// The text; never blank.
    pub(super) value: String,
    /// Where it came from.
    pub(super) origin: Origin,
}

impl Sources {
    /// The real ones.
    pub fn of_process() -> Self {
        Self {
            environment: std::env::vars_os()
                .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
                .collect(),
            working_directory: PathBuf::new(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
        }
    }

    /// What a variable is set to, also one that is no setting.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Sources {
    /// Names of variables only: their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("environment", &self.environment.keys())
            .field("working_directory", &self.working_directory)
            .field("stdout_is_terminal", &self.stdout_is_terminal)
            .finish()
    }
}

impl Layers {
    /// Gathers what every source gives. Values are not looked at yet, names are.
    pub(super) fn collect(
        matches: &clap::ArgMatches,
        sources: &Sources,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Error> {
        let flags = flags(matches);
        let environment = environment(sources, warnings)?;
        let file = file::layer(sources, warnings)?;
        Ok(Self([flags, environment, file]))
    }

    /// What was typed, and no other source.
    pub(super) fn typed(matches: &clap::ArgMatches) -> Self {
        Self([flags(matches), Layer::new(), Layer::new()])
    }

    /// The text of a setting, or its default. `None` when there is neither; a blank text is the same
    /// as none, so that a stronger source can take a weaker one's value away.
    pub(super) fn text(&self, setting: &Setting) -> Result<Option<Text>, Error> {
        let given = match self.find(setting) {
            Some(Given { raw: Raw::Text(value), origin }) => {
                Some(Text { value: value.clone(), origin: origin.clone() })
            }
            Some(Given { raw, origin }) => {
                return Err(invalid(setting, origin, format!("{} is not text", describe(setting, raw))));
            }
            None => None,
        };
        let given = given.filter(|text| !text.value.trim().is_empty());
        Ok(match setting.fallback {
            Fallback::Value(default) => {
                Some(given.unwrap_or_else(|| Text { value: default.to_owned(), origin: Origin::Default }))
            }
            Fallback::Required | Fallback::Unset | Fallback::Depends(_) => given,
        })
    }

    /// The text of a setting that the program cannot do without.
    pub(super) fn required_text(&self, setting: &Setting) -> Result<Text, Error> {
        self.text(setting)?.ok_or_else(|| Error::Missing { name: setting.name, variable: setting.variable() })
    }

    /// Whether a switch is on. Off when no source speaks of it.
    pub(super) fn switch(&self, setting: &Setting) -> Result<bool, Error> {
        let Some(Given { raw, origin }) = self.find(setting) else {
            return Ok(matches!(setting.fallback, Fallback::Value(default) if truth(default) == Some(true)));
        };
        let value = match raw {
            Raw::Switch(value) => Some(*value),
            Raw::Whole(0) => Some(false),
            Raw::Whole(1) => Some(true),
            Raw::Text(text) => truth(text),
            Raw::Whole(_) | Raw::List(_) | Raw::Other(_) => None,
        };
        value.ok_or_else(|| {
            invalid(setting, origin, format!("{} is neither true nor false", describe(setting, raw)))
        })
    }

    /// The texts of a setting that takes several, in the order given, or those of its default. A text
    /// is cut at its commas; an item of a list in the file is taken whole. None of them is blank or has
    /// blanks around it.
    pub(super) fn texts(&self, setting: &Setting) -> Result<Vec<String>, Error> {
        let given = match self.find(setting) {
            Some(Given { raw: Raw::List(items), origin }) => listed(setting, items, origin)?,
            _ => self.text(setting)?.map(|text| separated(&text.value)).unwrap_or_default(),
        };
        Ok(match setting.fallback {
            Fallback::Value(default) if given.is_empty() => separated(default),
            _ => given,
        })
    }

    /// A whole number within the bounds of its setting and of the type it is wanted in.
    pub(super) fn whole<N: TryFrom<u32>>(&self, setting: &Setting) -> Result<N, Error> {
        if let Some(Given { raw: Raw::Whole(number), origin }) = self.find(setting) {
            return within(setting, origin, i128::from(*number));
        }
        let Text { value, origin } = self.required_text(setting)?;
        match value.parse() {
            Ok(number) => within(setting, &origin, number),
            Err(_) => {
                let raw = Raw::Text(value);
                Err(invalid(setting, &origin, format!("{} is not a whole number", describe(setting, &raw))))
            }
        }
    }

    /// A number of workers; -1 stands for as many as the machine suggests.
    pub(super) fn workers(&self, setting: &Setting) -> Result<i64, Error> {
        let (number, origin) = match self.find(setting) {
            Some(Given { raw: Raw::Whole(number), origin }) => (Some(*number), origin.clone()),
            _ => {
                let Text { value, origin } = self.required_text(setting)?;
                (value.trim().parse().ok(), origin)
            }
        };
        number
            .filter(|number| (-1..=256).contains(number))
            .ok_or_else(|| invalid(setting, &origin, "it is no number of workers".into()))
    }

    /// Where the value of a setting comes from.
    pub(super) fn origin(&self, setting: &Setting) -> Origin {
        self.find(setting).map_or(Origin::Default, |given| given.origin.clone())
    }

    fn find(&self, setting: &Setting) -> Option<&Given> {
        self.0.iter().find_map(|layer| layer.get(setting.name))
    }
}

/// The flags that were typed.
fn flags(matches: &clap::ArgMatches) -> Layer {
    ALL.iter()
        .filter_map(|setting| {
            let given = matches.try_get_many::<String>(setting.name).ok().flatten()?;
            // More than one only where commas separate the values of one.
            let text = given.map(String::as_str).collect::<Vec<_>>().join(",");
            let origin = Origin::Flag(setting.name);
            Some((setting.name, Given { raw: Raw::Text(text), origin }))
        })
        .collect()
}

/// The variables that are set, and a warning for each that is almost one of ours.
fn environment(sources: &Sources, warnings: &mut Vec<Warning>) -> Result<Layer, Error> {
    for name in sources.environment.keys() {
        if let Some(nearest) = names::nearest_variable(name) {
            warnings.push(Warning::UnknownVariable { name: name.clone(), nearest });
        }
    }
    let mut layer = Layer::new();
    for setting in ALL {
        let origin = Origin::Variable(setting.variable());
        match sources.environment.get(&setting.variable()) {
            Some(value) if !value.is_empty() => match value.to_str() {
                Some(text) => {
                    layer.insert(setting.name, Given { raw: Raw::Text(text.to_owned()), origin });
                }
                None => return Err(invalid(setting, &origin, "the value is not valid UTF-8".into())),
            },
            _ => {}
        }
    }
    Ok(layer)
}

/// The spellings of true and false that the former program understood (spec 5.1); it took every
/// other one for false, which D76 ends.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// The texts of a list in the file.
fn listed(setting: &Setting, items: &[Raw], origin: &Origin) -> Result<Vec<String>, Error> {
    let mut texts = Vec::new();
    for item in items {
        match item {
            Raw::Text(text) => texts.extend(filled(text)),
            other => {
                let problem = format!("{} in the list is not text", describe(setting, other));
                return Err(invalid(setting, origin, problem));
            }
        }
    }
    Ok(texts)
}

/// The texts between the commas.
fn separated(text: &str) -> Vec<String> {
    text.split(',').filter_map(filled).collect()
}

fn filled(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn within<N: TryFrom<u32>>(setting: &Setting, origin: &Origin, number: i128) -> Result<N, Error> {
    u32::try_from(number)
        .ok()
        .filter(|number| setting.kind.bounds().contains(number))
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| invalid(setting, origin, format!("{number} is out of range")))
}

/// A refusal of a setting's value. `problem` must not contain the value of a secret.
pub(super) fn invalid(setting: &Setting, origin: &Origin, problem: String) -> Error {
    Error::Invalid { name: setting.name, origin: origin.clone(), problem, accepted: setting.kind.accepted() }
}

/// The value for a message, or its sort if it is secret.
fn describe(setting: &Setting, raw: &Raw) -> String {
    match raw {
        Raw::Other(sort) => (*sort).to_owned(),
        Raw::List(_) => "a list of values".into(),
        Raw::Text(_) if setting.secret => "the value".into(),
        Raw::Switch(_) if setting.secret => "a true or false without quotes".into(),
        Raw::Whole(_) if setting.secret => "a number without quotes".into(),
        Raw::Text(text) => format!("{text:?}"),
        Raw::Switch(value) => value.to_string(),
        Raw::Whole(number) => number.to_string(),
    }
}
