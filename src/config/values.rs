//! The value of each setting, its origin, and its interpretation by kind.

use std::collections::BTreeMap;

use config::ValueKind;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::error::{Error, Origin, Warning};
use crate::config::merge::{Given, Merged};
use crate::config::setting::{Fallback, Group, Kind, MAX_WORKERS, Setting};
use crate::config::shown::{
    is_address, is_client_id, is_host, is_id, is_plain_url, is_short_word, is_type_or_resource, shown_if,
    shown_path,
};
use crate::config::sources::Sources;
use crate::config::table;

/// The settings that have a value.
#[derive(Clone)]
pub(super) struct Values {
    /// By name: the value with the highest precedence, or the default.
    entries: BTreeMap<&'static str, Entry>,
    /// The flags of a one-shot change with an empty value.
    empty: Vec<Entry>,
}

/// The value of one setting, as given by its source.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) setting: &'static Setting,
    /// The origin of the value.
    pub(super) origin: Origin,
    given: ValueKind,
    /// The reason why the value must not be used; `None` if it is checked when it is read.
    problem: Option<&'static str>,
}

/// The problem of a protecting setting with a blank value.
const EMPTIED: &str = "the value is empty, which would turn the protection off";

impl Values {
    /// Adds the defaults. Values are not checked yet, but an unknown keyword of a choice is replaced, with a
    /// warning.
    pub(super) fn new(mut merged: Merged, sources: &Sources, warnings: &mut Vec<Warning>) -> Self {
        let mut entries = BTreeMap::new();
        let mut empty = Vec::new();
        for setting in table::every() {
            let mut given = merged.remove(setting.name).map(|given| Entry::of(setting, given));
            // A blank value is treated as no value, so that a source can remove the value of a source with
            // lower precedence.
            if let Some(blank) = given.take_if(|entry| entry.is_usable() && entry.is_blank()) {
                let is_flag = matches!(blank.origin, Origin::Flag(_));
                empty.extend(Some(blank).filter(|_| is_flag && setting.group == Group::Change));
            }
            let Some(entry) = given.or_else(|| Entry::default_of(setting, sources)) else { continue };
            entries.insert(setting.name, entry.known_word(warnings));
        }
        let overruled: Vec<_> = table::every()
            .filter(|setting| setting.overruled_by.is_some_and(|switch| is_on(&entries, switch)))
            .collect();
        for setting in overruled {
            if entries.get(setting.name).is_some_and(Entry::is_usable) {
                entries.remove(setting.name);
            }
        }
        Self { entries, empty }
    }

    /// The flag of a one-shot change with this name, if its value is empty.
    pub(super) fn empty_flag(&self, name: &str) -> Option<&Entry> {
        self.empty.iter().find(|entry| entry.setting.name == name)
    }

    /// The value of the setting with this name; `None` if it has none.
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Replaces the value of a setting by its default. Returns whether a source had set it.
    pub(super) fn reset(&mut self, name: &str) -> bool {
        let Some(entry) = self.entries.remove(name) else { return false };
        if let Some(default) = Entry::default_of(entry.setting, &Sources::default()) {
            self.entries.insert(entry.setting.name, default);
        }
        entry.origin != Origin::Default
    }
}

fn is_on(entries: &BTreeMap<&'static str, Entry>, switch: &str) -> bool {
    entries.get(switch).is_some_and(|entry| entry.switch().unwrap_or(false))
}

/// The error for a required setting without a value.
pub(super) fn missing(setting: &Setting) -> Error {
    Error::Missing { name: setting.name, variable: setting.variable() }
}

impl Entry {
    fn default_of(setting: &'static Setting, sources: &Sources) -> Option<Self> {
        use crate::config::setting::DefaultValue::{Switch, Text, Whole};

        let value = match setting.fallback {
            Fallback::Required | Fallback::Unset => return None,
            Fallback::Value(Switch(value)) => ValueKind::Boolean(value),
            Fallback::Value(Whole(number)) => ValueKind::I64(number.into()),
            Fallback::Value(Text(text)) => ValueKind::String(text.to_owned()),
            Fallback::Depends { value, .. } => ValueKind::String(value(sources)?),
        };
        Some(Self { setting, origin: Origin::Default, given: value, problem: None })
    }

    fn of(setting: &'static Setting, Given { value, origin, problem }: Given) -> Self {
        let mut entry = Self { setting, origin, given: value, problem };
        // The form of ConductorOne can send the fields that are not set as empty texts.
        if setting.protects && entry.is_blank() && entry.origin.is_written() {
            entry.problem = problem.or(Some(EMPTIED));
        }
        entry
    }

    /// The value, unless it must not be used.
    fn value(&self) -> Result<&ValueKind, Error> {
        match self.problem {
            Some(problem) => Err(self.invalid(problem.to_owned())),
            None => Ok(&self.given),
        }
    }

    /// Whether the value may be used: it has no known problem.
    pub(super) fn is_usable(&self) -> bool {
        self.problem.is_none()
    }

    fn is_blank(&self) -> bool {
        match (&self.given, self.setting.kind) {
            (ValueKind::Nil, _) => true,
            // Any other empty text is neither on nor off, which the reader reports.
            (ValueKind::String(text), Kind::Switch) => self.setting.protects && text.trim().is_empty(),
            (_, Kind::Switch) => false,
            (ValueKind::String(text), Kind::LogTargets | Kind::Texts) => separated(text).is_empty(),
            (ValueKind::String(text), _) => text.trim().is_empty(),
            (ValueKind::Array(items), Kind::LogTargets | Kind::Texts) => {
                items.iter().all(|item| match &item.kind {
                    ValueKind::Nil => true,
                    ValueKind::String(text) => text.trim().is_empty(),
                    _ => false,
                })
            }
            _ => false,
        }
    }

    /// Replaces an unknown keyword of a choice, and normalizes a known one to its declared spelling.
    fn known_word(mut self, warnings: &mut Vec<Warning>) -> Self {
        let (Kind::Choice(words), ValueKind::String(text)) = (self.setting.kind, &self.given) else {
            return self;
        };
        let known = words.iter().find(|word| word.eq_ignore_ascii_case(text.trim()));
        let word = match (known, self.setting.fallback) {
            (Some(word), _) => (*word).to_owned(),
            (None, fallback) => {
                let used = match fallback {
                    Fallback::Value(value) => value.to_string(),
                    _ => words.first().map(|word| (*word).to_owned()).unwrap_or_default(),
                };
                warnings.push(Warning::UnknownWord {
                    name: self.setting.name,
                    origin: self.origin.clone(),
                    word: if self.is_fit_to_show(text) { text.clone() } else { "...".to_owned() },
                    used: used.clone(),
                    accepted: self.setting.kind.accepted(),
                });
                used
            }
        };
        self.given = ValueKind::String(word);
        self
    }

    /// Checks that the value is valid for the kind of its setting.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.setting.kind {
            Kind::Switch => self.switch().map(drop),
            Kind::Whole { .. } => self.whole().map(drop),
            Kind::Workers => self.workers().map(drop),
            Kind::LogTargets | Kind::Texts => self.texts().map(drop),
            Kind::Time => self.time().map(drop),
            Kind::Json => self.json().map(drop),
            Kind::Text
            | Kind::Choice(_)
            | Kind::SocketAddress
            | Kind::HostAndPort
            | Kind::Host
            | Kind::Path
            | Kind::Url => self.text().map(drop),
        }
    }

    /// The text, without surrounding blanks if they are not significant.
    pub(super) fn text(&self) -> Result<&str, Error> {
        match (self.value()?, self.setting.kind) {
            (ValueKind::String(text), Kind::Text) => Ok(text),
            (ValueKind::String(text), _) => Ok(text.trim()),
            (other, _) => Err(self.invalid(format!("{} is not text", self.describe(other)))),
        }
    }

    /// Whether a switch is on.
    pub(super) fn switch(&self) -> Result<bool, Error> {
        let value = match self.value()? {
            ValueKind::Boolean(value) => Some(*value),
            ValueKind::I64(0) => Some(false),
            ValueKind::I64(1) => Some(true),
            ValueKind::String(text) => truth(text),
            _ => None,
        };
        value.ok_or_else(|| self.invalid(format!("{} is neither true nor false", self.describe(&self.given))))
    }

    /// A whole number within the bounds of its setting.
    pub(super) fn whole(&self) -> Result<u32, Error> {
        let number = self.number()?;
        u32::try_from(number)
            .ok()
            .filter(|number| self.setting.kind.bounds().contains(number))
            .ok_or_else(|| self.invalid(format!("{number} is out of range")))
    }

    /// A number of workers: -1, or a whole number.
    pub(super) fn workers(&self) -> Result<i64, Error> {
        let number = self.number()?;
        i64::try_from(number)
            .ok()
            .filter(|number| (-1..=MAX_WORKERS).contains(number))
            .ok_or_else(|| self.invalid(format!("{number} is out of range")))
    }

    fn number(&self) -> Result<i128, Error> {
        match self.value()? {
            ValueKind::I64(number) => Ok(i128::from(*number)),
            ValueKind::String(text) => text
                .trim()
                .parse()
                .map_err(|_| self.invalid(format!("{} is not a whole number", self.describe(&self.given)))),
            other => Err(self.invalid(format!("{} is not text", self.describe(other)))),
        }
    }

    /// A point in time.
    pub(super) fn time(&self) -> Result<OffsetDateTime, Error> {
        let text = self.text()?;
        OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| self.invalid(format!("{} is not a time", self.describe(&self.given))))
    }

    /// The text of a JSON object.
    pub(super) fn json(&self) -> Result<&str, Error> {
        let text = self.text()?;
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
            Ok(_) => Ok(text),
            // The parser's own message may quote the value.
            Err(error) => Err(self.invalid(format!(
                "the value is not a JSON object (line {}, column {})",
                error.line(),
                error.column()
            ))),
        }
    }

    /// The texts of a setting with several values, in the order given. A text is split at its commas; an item
    /// of a list in the config file is not split. The texts are trimmed and not blank.
    pub(super) fn texts(&self) -> Result<Vec<String>, Error> {
        let ValueKind::Array(items) = self.value()? else { return Ok(separated(self.text()?)) };
        let mut texts = Vec::new();
        for item in items {
            match &item.kind {
                ValueKind::Nil => {}
                ValueKind::String(text) => texts.extend(filled(text)),
                other => {
                    return Err(self.invalid(format!("{} in the list is not text", self.describe(other))));
                }
            }
        }
        Ok(texts)
    }

    /// An error of this setting with this problem. The problem must not contain a secret value.
    pub(super) fn invalid(&self, problem: String) -> Error {
        Error::Invalid {
            name: self.setting.name,
            origin: self.origin.clone(),
            problem,
            accepted: self.setting.kind.accepted(),
        }
    }

    /// A value of this setting for a message, or only its type if it is secret.
    fn describe(&self, value: &ValueKind) -> String {
        let secret = self.setting.secret;
        match value {
            ValueKind::Nil => "nothing".into(),
            ValueKind::Float(_) => "a decimal number".into(),
            ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => "a number this large".into(),
            ValueKind::Table(_) => "a table of values".into(),
            ValueKind::Array(_) => "a list of values".into(),
            ValueKind::String(_) if secret => "the value".into(),
            ValueKind::Boolean(_) if secret => "a true or false without quotes".into(),
            ValueKind::I64(_) if secret => "a number without quotes".into(),
            ValueKind::String(text) if self.is_fit_to_show(text) => format!("{text:?}"),
            ValueKind::String(_) => "the value".into(),
            ValueKind::Boolean(value) => value.to_string(),
            ValueKind::I64(number) => number.to_string(),
        }
    }

    /// Whether an invalid text is safe to show because it may be a misspelled value. Any other text could be
    /// a misplaced secret.
    fn is_fit_to_show(&self, text: &str) -> bool {
        let all = |longest, fit: fn(char) -> bool| text.len() <= longest && text.chars().all(fit);
        match self.setting.kind {
            Kind::Whole { .. } | Kind::Workers => {
                all(30, |letter| {
                    letter.is_ascii_digit() || matches!(letter, '+' | '-' | '.' | ',' | '_' | ' ')
                }) || all(6, |letter| letter.is_ascii_alphanumeric())
            }
            Kind::Switch => all(6, |letter| letter.is_ascii_alphanumeric() || letter == ' '),
            Kind::Time => {
                text.starts_with(|first: char| first.is_ascii_digit())
                    && all(35, |letter| {
                        letter.is_ascii_digit()
                            || matches!(letter, 'T' | 't' | 'Z' | 'z' | '-' | ':' | '.' | '+' | ' ')
                    })
            }
            _ => is_short_word(text),
        }
    }

    /// The value as on a command line; `None` for a secret.
    pub(super) fn shown(&self) -> Option<String> {
        if self.setting.secret {
            return None;
        }
        let shown = match self.setting.kind {
            Kind::Switch => self.switch().map(|value| value.to_string()),
            Kind::Whole { .. } => self.whole().map(|number| number.to_string()),
            Kind::Workers => self.workers().map(|number| number.to_string()),
            Kind::Path => self.text().map(shown_path),
            Kind::LogTargets => self.texts().map(|targets| {
                let targets = targets.iter().map(|target| match target.as_str() {
                    "stderr" | "stdout" => target.clone(),
                    path => shown_path(path),
                });
                targets.collect::<Vec<_>>().join(",")
            }),
            Kind::Texts => self.texts().map(|texts| {
                let texts = texts.iter().map(|text| shown_if(text, is_type_or_resource));
                texts.collect::<Vec<_>>().join(",")
            }),
            Kind::Url => self.text().map(|text| shown_if(text, is_plain_url)),
            Kind::SocketAddress | Kind::HostAndPort => self.text().map(|text| shown_if(text, is_address)),
            Kind::Host => self.text().map(|text| shown_if(text, is_host)),
            Kind::Text => self.text().map(|text| {
                let is_client = self.setting.name == "client-id";
                shown_if(text, if is_client { is_client_id } else { is_id })
            }),
            // An unknown word is not an error here.
            Kind::Choice(_) => self.text().map(|text| shown_if(text, is_short_word)),
            Kind::Time => self.time().and_then(|_| self.text()).map(str::to_owned),
            Kind::Json => self.json().map(|_| "[a JSON object]".to_owned()),
        };
        Some(shown.unwrap_or_else(|_| self.describe(&self.given)))
    }
}

/// The spellings of true and false of the Go connector, which treated any other spelling as false.
fn truth(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// The texts between the commas.
fn separated(text: &str) -> Vec<String> {
    text.split(',').filter_map(filled).collect()
}

fn filled(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
