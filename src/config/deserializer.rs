//! Reads settings types with `serde`.
//!
//! A field with the name of a setting gets its value. A field with any other name is a struct that is read
//! from the same settings, so that a type can combine several structs. An optional struct has the name of the
//! setting that turns it on: it is present if that setting has a value and is not a switch that is off.
//!
//! The deserializer of the `config` crate is not used: it accepts a blank value, supports neither bounds nor
//! secrets, and its errors name no source.

use std::fmt::Display;

use serde::de::value::SeqDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::config::error::Error;
use crate::config::setting::Kind;
use crate::config::table;
use crate::config::values::{Entry, Values, missing};

impl Values {
    /// Reads the settings that are fields of `T`.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Missing`] for the first invalid setting.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(Section(self)).map_err(|problem| match problem {
            Problem::Setting(error) => *error,
            Problem::Text(problem) => Error::Internal { problem },
        })
    }

    /// Every error of the settings that are fields of `T`.
    pub(super) fn errors_of<T: DeserializeOwned>(&self) -> Vec<Error> {
        self.read_valid::<T>().1
    }

    /// The settings that are fields of `T`, with defaults in place of invalid values, and the errors of these.
    /// `None` if a required setting is invalid or missing.
    pub(super) fn read_valid<T: DeserializeOwned>(&self) -> (Option<T>, Vec<Error>) {
        let mut values = self.clone();
        let mut errors = Vec::new();
        loop {
            // Reading stops at the first error, so each invalid value is replaced and the others are read again.
            match values.read::<T>() {
                Ok(settings) => return (Some(settings), errors),
                Err(error @ Error::Invalid { name, .. }) => {
                    errors.push(error);
                    if !values.reset(name) {
                        return (None, errors);
                    }
                }
                // A setting without a default can be missing only because it was replaced.
                Err(_) if !errors.is_empty() => return (None, errors),
                Err(error) => return (None, vec![error]),
            }
        }
    }
}

/// A problem, at first without its setting.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Text(String),
    #[error(transparent)]
    Setting(Box<Error>),
}

impl Problem {
    fn with(self, entry: &Entry) -> Self {
        match self {
            Self::Text(problem) => entry.invalid(problem).into(),
            setting => setting,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Setting(Box::new(error))
    }
}

impl de::Error for Problem {
    fn custom<T: Display>(problem: T) -> Self {
        Self::Text(problem.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        match table::named(field) {
            Some(setting) => missing(setting).into(),
            None => Self::Text(format!("{field} is missing")),
        }
    }
}

/// A struct with a field for each of its settings.
#[derive(Clone, Copy)]
struct Section<'a>(&'a Values);

impl<'de> Deserializer<'de> for Section<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Problem> {
        Err(Problem::Text("a value that is not a setting is read as a struct".into()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_map(Fields { values: self.0, fields: fields.iter(), current: None })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Fields<'a> {
    values: &'a Values,
    fields: std::slice::Iter<'static, &'static str>,
    /// The field whose value is next; `None` if the field is not a setting.
    current: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        for field in self.fields.by_ref() {
            self.current = self.values.get(field);
            // A field without a value is skipped, which serde treats as `None` for an optional field.
            if self.current.is_some() || table::named(field).is_none() {
                let key: de::value::StrDeserializer<'_, Problem> = (*field).into_deserializer();
                return seed.deserialize(key).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        match self.current {
            Some(entry) => seed
                .deserialize(SettingValue { values: self.values, entry })
                .map_err(|problem| problem.with(entry)),
            None => seed.deserialize(Section(self.values)),
        }
    }
}

/// The value of one setting.
struct SettingValue<'a> {
    values: &'a Values,
    entry: &'a Entry,
}

impl<'de> Deserializer<'de> for SettingValue<'_> {
    type Error = Problem;

    /// Reads the value according to the kind of the setting.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.entry.setting.kind {
            Kind::Switch => visitor.visit_bool(self.entry.switch()?),
            Kind::Whole { .. } => visitor.visit_u32(self.entry.whole()?),
            Kind::Workers => visitor.visit_i64(self.entry.workers()?),
            Kind::LogTargets | Kind::Texts => {
                visitor.visit_seq(SeqDeserializer::new(self.entry.texts()?.into_iter()))
            }
            Kind::Text
            | Kind::Choice(_)
            | Kind::SocketAddress
            | Kind::HostAndPort
            | Kind::Host
            | Kind::Path
            | Kind::Url
            | Kind::Time => visitor.visit_str(self.entry.text()?),
            Kind::Json => visitor.visit_str(self.entry.json()?),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.entry.setting.kind {
            Kind::Switch if !self.entry.switch()? => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_enum(self.entry.text()?.into_deserializer())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match name {
            // serde reads a duration as seconds and nanoseconds; a setting has whole seconds.
            "Duration" => visitor.visit_seq(SeqDeserializer::new([self.entry.whole()?, 0].into_iter())),
            _ => Section(self.values).deserialize_struct(name, fields, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}
