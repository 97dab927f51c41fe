//! The rules for single values, and for how many values there are.

use prost::Message;
use prost_reflect::{EnumDescriptor, Kind};
use prost_types::Duration;
use regex::Regex;

use crate::proto::validate::formats;
use crate::proto::validate::rules::field_rules::Type;
use crate::proto::validate::rules::string_rules::WellKnown;
use crate::proto::validate::rules::{
    BytesRules, DurationRules, EnumRules, Int64Rules, StringRules, UInt32Rules,
};

/// A value as it is on the wire. A number gets its meaning from the rule.
#[derive(Clone, Copy)]
pub(super) enum WireValue<'a> {
    Varint(u64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// The encodings that merge into a message.
    Message(&'a [&'a [u8]]),
}

/// A rule for one value.
pub(super) enum ValueRule {
    Int64(NumberRule),
    Uint32(NumberRule),
    Text(Box<TextRule>),
    Bytes(Count),
    /// The value must have a name in the enum.
    Defined(EnumDescriptor),
    Duration(DurationRule),
}

/// How many of something there may be.
pub(super) struct Count {
    min: u64,
    max: Option<u64>,
    unit: Unit,
}

/// What is counted.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Bytes,
    Characters,
    Items,
    Entries,
}

/// Rules for an integer of any width that the protocol uses.
pub(super) struct NumberRule {
    min: Option<i128>,
    max: Option<i128>,
    ignore_empty: bool,
}

/// Rules for a string.
pub(super) struct TextRule {
    bytes: Count,
    characters: Count,
    pattern: Option<Regex>,
    format: Option<Format>,
    r#const: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
    contains: Option<String>,
    not_contains: Option<String>,
    /// Empty for any.
    r#in: Vec<String>,
    not_in: Vec<String>,
    ignore_empty: bool,
}

/// The well-known forms of a string that the protocol uses.
enum Format {
    Email,
    Uri,
}

/// The limits of a duration, both included.
pub(super) struct DurationRule {
    min: Option<Duration>,
    max: Option<Duration>,
}

/// Why a rule cannot be enforced.
#[derive(Debug, thiserror::Error)]
pub(super) enum RuleError {
    /// Nothing here enforces it.
    #[error("the rule {0} is not known")]
    Unknown(String),
    /// It is for another type of field.
    #[error("the rule does not fit the field")]
    Misplaced,
    /// Nothing can satisfy it.
    #[error("the rule leaves no value")]
    Impossible,
    /// Its pattern is no regular expression.
    #[error("the pattern is not valid: {0}")]
    Pattern(#[from] regex::Error),
    /// It is stored in a way that cannot be read.
    #[error("the rule cannot be read: {0}")]
    Unreadable(#[from] prost::DecodeError),
}

impl ValueRule {
    /// The rule for values of this kind; nothing when there is none.
    pub(super) fn compile(kind: &Kind, rules: Option<&Type>) -> Result<Option<Self>, RuleError> {
        let Some(rules) = rules else { return Ok(None) };
        Ok(Some(match (rules, kind) {
            (Type::Int64(rules), Kind::Int64) => Self::Int64(NumberRule::for_int64(rules)?),
            (Type::Uint32(rules), Kind::Uint32) => Self::Uint32(NumberRule::for_uint32(rules)?),
            (Type::String(rules), Kind::String) => Self::Text(Box::new(TextRule::new(rules)?)),
            (Type::Bytes(rules), Kind::Bytes) => Self::Bytes(bytes_rule(rules)?),
            (Type::Enum(rules), Kind::Enum(values)) => {
                let EnumRules { defined_only } = *rules;
                if !defined_only.unwrap_or(false) {
                    return Ok(None);
                }
                Self::Defined(values.clone())
            }
            (Type::Duration(rules), Kind::Message(message))
                if message.full_name() == "google.protobuf.Duration" =>
            {
                Self::Duration(DurationRule::new(rules)?)
            }
            _ => return Err(RuleError::Misplaced),
        }))
    }

    /// Why the value breaks the rule; nothing when it does not.
    // Casts keep what a field of the type keeps of a varint.
    pub(super) fn broken_by(&self, value: WireValue<'_>) -> Option<String> {
        match (self, value) {
            (Self::Int64(rule), WireValue::Varint(number)) => rule.broken_by(i128::from(number as i64)),
            (Self::Uint32(rule), WireValue::Varint(number)) => rule.broken_by(i128::from(number as u32)),
            (Self::Text(rule), WireValue::Text(text)) => rule.broken_by(text),
            (Self::Bytes(count), WireValue::Bytes(bytes)) => count.broken_by(bytes.len()),
            (Self::Defined(values), WireValue::Varint(number)) => {
                let number = number as i32;
                match values.get_value(number) {
                    Some(_) => None,
                    None => Some(format!("must be a value of {}, is {number}", values.name())),
                }
            }
            (Self::Duration(rule), WireValue::Message(parts)) => rule.broken_by(parts),
            // `compile` saw to it that the rule fits the kind of value.
            _ => None,
        }
    }
}

impl Count {
    pub(super) fn new(min: Option<u64>, max: Option<u64>, unit: Unit) -> Result<Self, RuleError> {
        let min = min.unwrap_or(0);
        if max.is_some_and(|max| max < min) {
            Err(RuleError::Impossible)
        } else {
            Ok(Self { min, max, unit })
        }
    }

    /// A single length beside limits has to lie within them.
    fn exactly(len: Option<u64>, min: Option<u64>, max: Option<u64>, unit: Unit) -> Result<Self, RuleError> {
        let limits = Self::new(min, max, unit)?;
        match len {
            Some(len) if !limits.allows(len) => Err(RuleError::Impossible),
            Some(len) => Self::new(Some(len), Some(len), unit),
            None => Ok(limits),
        }
    }

    /// Whether some count would break the rule.
    pub(super) fn is_limited(&self) -> bool {
        self.min > 0 || self.max.is_some()
    }

    /// Why so many break the rule; nothing when they do not.
    pub(super) fn broken_by(&self, count: usize) -> Option<String> {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        if self.allows(count) {
            return None;
        }
        let (verb, unit) = match self.unit {
            Unit::Bytes => ("be", "bytes long"),
            Unit::Characters => ("be", "characters long"),
            Unit::Items => ("have", "items"),
            Unit::Entries => ("have", "entries"),
        };
        let limits = limits(Some(self.min).filter(|min| *min > 0), self.max)?;
        Some(format!("must {verb} {limits} {unit}, has {count}"))
    }

    fn allows(&self, count: u64) -> bool {
        count >= self.min && self.max.is_none_or(|max| count <= max)
    }
}

impl NumberRule {
    fn for_int64(rules: &Int64Rules) -> Result<Self, RuleError> {
        let Int64Rules { r#const: is, lt, lte, gt, gte, ignore_empty } = *rules;
        Self::new([is, gte], gt, [is, lte], lt, ignore_empty)
    }

    fn for_uint32(rules: &UInt32Rules) -> Result<Self, RuleError> {
        let UInt32Rules { r#const: is, lt, lte, gt, gte, ignore_empty } = *rules;
        Self::new([is, gte], gt, [is, lte], lt, ignore_empty)
    }

    /// Limits that leave nothing are an error here, where the original reads them as an excluded range.
    fn new<T: Into<i128>>(
        at_least: [Option<T>; 2],
        above: Option<T>,
        at_most: [Option<T>; 2],
        below: Option<T>,
        ignore_empty: Option<bool>,
    ) -> Result<Self, RuleError> {
        let min = at_least.into_iter().flatten().map(Into::into);
        let min = min.chain(above.map(|limit| limit.into() + 1)).max();
        let max = at_most.into_iter().flatten().map(Into::into);
        let max = max.chain(below.map(|limit| limit.into() - 1)).min();
        match (min, max) {
            (Some(min), Some(max)) if min > max => Err(RuleError::Impossible),
            _ => Ok(Self { min, max, ignore_empty: ignore_empty.unwrap_or(false) }),
        }
    }

    fn broken_by(&self, number: i128) -> Option<String> {
        let passes = self.ignore_empty && number == 0
            || self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max);
        if passes {
            return None;
        }
        Some(format!("must be {}, is {number}", limits(self.min, self.max)?))
    }
}

impl TextRule {
    fn new(rules: &StringRules) -> Result<Self, RuleError> {
        let StringRules {
            r#const,
            min_len,
            max_len,
            min_bytes,
            max_bytes,
            pattern: expression,
            prefix,
            suffix,
            contains,
            r#in,
            not_in,
            len,
            len_bytes,
            not_contains,
            strict,
            ignore_empty,
            well_known,
        } = rules.clone();
        if strict.is_some() {
            return Err(RuleError::Unknown("string.strict".to_owned()));
        }
        Ok(Self {
            bytes: Count::exactly(len_bytes, min_bytes, max_bytes, Unit::Bytes)?,
            characters: Count::exactly(len, min_len, max_len, Unit::Characters)?,
            r#const,
            prefix,
            suffix,
            contains,
            not_contains,
            r#in,
            not_in,
            pattern: expression.as_deref().map(pattern).transpose()?,
            format: well_known.map(Format::new).transpose()?.flatten(),
            ignore_empty: ignore_empty.unwrap_or(false),
        })
    }

    fn broken_by(&self, text: &str) -> Option<String> {
        if self.ignore_empty && text.is_empty() {
            return None;
        }
        self.bytes
            .broken_by(text.len())
            .or_else(|| self.broken_by_characters(text))
            .or_else(|| self.broken_by_comparison(text))
            .or_else(|| self.broken_by_form(text))
    }

    fn broken_by_characters(&self, text: &str) -> Option<String> {
        // Counting takes time, so only where a rule limits characters.
        if self.characters.is_limited() { self.characters.broken_by(text.chars().count()) } else { None }
    }

    fn broken_by_comparison(&self, text: &str) -> Option<String> {
        let Self { r#const, prefix, suffix, contains, not_contains, r#in, not_in, .. } = self;
        // These texts are the rule's own, so they may be shown.
        let broken =
            |is: bool, reason: &str, own: &dyn std::fmt::Debug| is.then(|| format!("{reason} {own:?}"));
        None.or_else(|| r#const.as_ref().and_then(|own| broken(text != own, "must be", own)))
            .or_else(|| {
                prefix.as_ref().and_then(|own| broken(!text.starts_with(own), "must begin with", own))
            })
            .or_else(|| suffix.as_ref().and_then(|own| broken(!text.ends_with(own), "must end with", own)))
            .or_else(|| contains.as_ref().and_then(|own| broken(!text.contains(own), "must contain", own)))
            .or_else(|| {
                not_contains.as_ref().and_then(|own| broken(text.contains(own), "must not contain", own))
            })
            .or_else(|| broken(!r#in.is_empty() && !is_one_of(text, r#in), "must be one of", r#in))
            .or_else(|| broken(is_one_of(text, not_in), "must be none of", not_in))
    }

    fn broken_by_form(&self, text: &str) -> Option<String> {
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            return Some(format!("must match {pattern}"));
        }
        match self.format {
            Some(Format::Email) if !formats::is_email(text) => Some("must be an e-mail address".to_owned()),
            Some(Format::Uri) if !formats::is_absolute_uri(text) => {
                Some("must be an absolute URI".to_owned())
            }
            _ => None,
        }
    }
}

impl Format {
    /// The form that is asked for; nothing when it is asked for with `false`.
    fn new(rule: WellKnown) -> Result<Option<Self>, RuleError> {
        let (format, wanted) = match rule {
            WellKnown::Email(wanted) => (Self::Email, wanted),
            WellKnown::Uri(wanted) => (Self::Uri, wanted),
            other => return Err(RuleError::Unknown(format!("string.{other:?}"))),
        };
        Ok(wanted.then_some(format))
    }
}

impl DurationRule {
    fn new(rules: &DurationRules) -> Result<Self, RuleError> {
        let DurationRules { gte: min, lte: max } = *rules;
        match (min, max) {
            (Some(min), Some(max)) if order(&min) > order(&max) => Err(RuleError::Impossible),
            _ => Ok(Self { min, max }),
        }
    }

    fn broken_by(&self, parts: &[&[u8]]) -> Option<String> {
        let mut duration = Duration::default();
        let decoded = parts.iter().try_for_each(|part| duration.merge(*part));
        if decoded.is_err() || !is_valid(&duration) {
            return Some(NO_DURATION.to_owned());
        }
        let passes = self.min.is_none_or(|min| order(&duration) >= order(&min))
            && self.max.is_none_or(|max| order(&duration) <= order(&max));
        if passes {
            return None;
        }
        Some(format!("must be {}, is {duration}", limits(self.min, self.max)?))
    }
}

const NO_DURATION: &str = "must be a duration of at most 10000 years, its parts of one sign";

/// What `google.protobuf.Duration` allows: about 10000 years, and no parts that pull in two directions.
fn is_valid(Duration { seconds, nanos }: &Duration) -> bool {
    let within =
        (-315_576_000_000..=315_576_000_000).contains(seconds) && nanos.unsigned_abs() < 1_000_000_000;
    within && seconds.signum() * i64::from(nanos.signum()) >= 0
}

/// Valid durations compare like this.
fn order(duration: &Duration) -> (i64, i32) {
    (duration.seconds, duration.nanos)
}

/// The limits in words; nothing when there are none.
fn limits<T: std::fmt::Display + PartialEq>(min: Option<T>, max: Option<T>) -> Option<String> {
    match (min, max) {
        (Some(min), Some(max)) if min == max => Some(min.to_string()),
        (Some(min), Some(max)) => Some(format!("{min} to {max}")),
        (Some(min), None) => Some(format!("at least {min}")),
        (None, Some(max)) => Some(format!("at most {max}")),
        (None, None) => None,
    }
}

fn bytes_rule(rules: &BytesRules) -> Result<Count, RuleError> {
    let BytesRules { len, min_len, max_len } = *rules;
    Count::exactly(len, min_len, max_len, Unit::Bytes)
}

/// The protocol's patterns are in Go's syntax. Of what they use, only the classes with a letter differ
/// here, where they take in all of Unicode, so these are refused.
fn pattern(text: &str) -> Result<Regex, RuleError> {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.next().is_some_and(|class| "bBdDsSwW".contains(class)) {
            return Err(RuleError::Unknown(format!("a class with a letter in the pattern {text}")));
        }
    }
    Ok(Regex::new(text)?)
}

fn is_one_of(text: &str, texts: &[String]) -> bool {
    texts.iter().any(|other| other == text)
}

/// Whether values of this kind can be compared, so that a rule can require them to be unique.
pub(super) fn is_comparable(kind: &Kind) -> bool {
    !matches!(kind, Kind::Message(_) | Kind::Float | Kind::Double)
}
