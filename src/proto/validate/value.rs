//! The rules for single values, and for the number of values.

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

/// A value on the wire. The rule decides how a number is interpreted.
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

/// The limits of a number of items.
pub(super) struct Count {
    min: u64,
    max: Option<u64>,
    unit: Unit,
}

/// The counted unit.
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
    /// Empty allows any value.
    r#in: Vec<String>,
    not_in: Vec<String>,
    ignore_empty: bool,
}

/// The well-known formats of a string that the protocol uses.
enum Format {
    Email,
    Uri,
}

/// The inclusive limits of a duration.
pub(super) struct DurationRule {
    min: Option<Duration>,
    max: Option<Duration>,
}

/// The reason why a rule cannot be enforced.
#[derive(Debug, thiserror::Error)]
pub(super) enum RuleError {
    /// The rule is unknown.
    #[error("the rule {0} is not known")]
    Unknown(String),
    /// The rule is for another type of field.
    #[error("the rule does not fit the field")]
    Misplaced,
    /// No value can satisfy the rule.
    #[error("no value can satisfy the rule")]
    Impossible,
    /// The pattern is not a regular expression.
    #[error("the pattern is not valid: {0}")]
    Pattern(#[from] regex::Error),
    /// The encoding of the rule is invalid.
    #[error("the rule cannot be read: {0}")]
    Unreadable(#[from] prost::DecodeError),
}

impl ValueRule {
    /// Compiles the rule for values of this kind; `None` if there is none.
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

    /// The reason why the value breaks the rule; `None` if it does not.
    // Casts truncate a varint in the same way as a field of the type.
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
            // `compile` checked that the rule fits the kind of value.
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

    /// A fixed length combined with limits must lie within them.
    fn exactly(len: Option<u64>, min: Option<u64>, max: Option<u64>, unit: Unit) -> Result<Self, RuleError> {
        let limits = Self::new(min, max, unit)?;
        match len {
            Some(len) if !limits.allows(len) => Err(RuleError::Impossible),
            Some(len) => Self::new(Some(len), Some(len), unit),
            None => Ok(limits),
        }
    }

    /// Whether any count would break the rule.
    pub(super) fn is_limited(&self) -> bool {
        self.min > 0 || self.max.is_some()
    }

    /// The reason why this count breaks the rule; `None` if it does not.
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

    /// Limits that allow no value are an error here. The original reads them as an excluded range.
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
        // Counting characters takes time, so it is done only if a rule limits them.
        if self.characters.is_limited() { self.characters.broken_by(text.chars().count()) } else { None }
    }

    fn broken_by_comparison(&self, text: &str) -> Option<String> {
        let Self { r#const, prefix, suffix, contains, not_contains, r#in, not_in, .. } = self;
        // These texts come from the rule, so they may be shown.
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
    /// The requested format; `None` if the rule is `false`.
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

const NO_DURATION: &str = "must be a duration of at most 10000 years, with parts of the same sign";

/// As in `google.protobuf.Duration`: about 10000 years, and both parts with the same sign.
fn is_valid(Duration { seconds, nanos }: &Duration) -> bool {
    let within =
        (-315_576_000_000..=315_576_000_000).contains(seconds) && nanos.unsigned_abs() < 1_000_000_000;
    within && seconds.signum() * i64::from(nanos.signum()) >= 0
}

/// The order of valid durations.
fn order(duration: &Duration) -> (i64, i32) {
    (duration.seconds, duration.nanos)
}

/// Describes the limits; `None` if there are none.
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

/// The protocol's patterns use Go's syntax. Of the syntax in use, only character classes with a letter
/// differ: here they match all of Unicode, so they are refused.
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

/// Whether values of this kind can be compared, so that a rule can require unique values.
pub(super) fn is_comparable(kind: &Kind) -> bool {
    !matches!(kind, Kind::Message(_) | Kind::Float | Kind::Double)
}
