//! The sources of settings, in order of precedence, and the lookup of a setting in them.

use std::collections::BTreeMap;

use crate::postgres::connection_string::error::{ConnectionStringError, Origin};
use crate::postgres::connection_string::keys;
use crate::postgres::connection_string::keys::Key;

/// Keys and values as given.
pub(crate) type Pairs = Vec<(String, String)>;

/// All settings of one source.
pub(crate) struct Layer {
    settings: BTreeMap<&'static str, (String, Origin)>,
    run_time: Pairs,
}

impl Layer {
    /// Splits the settings of a source into connection settings and run-time parameters. If a key occurs
    /// several times, the last value counts.
    ///
    /// # Errors
    /// A key is not accepted, or a value contains a NUL.
    pub(crate) fn new(
        pairs: impl IntoIterator<Item = (String, String, Origin)>,
    ) -> Result<Self, ConnectionStringError> {
        let mut layer = Self { settings: BTreeMap::new(), run_time: Pairs::new() };
        for (key, value, origin) in pairs {
            let recognized = keys::recognize(&key, &value, origin)?;
            if value.contains('\0') {
                return Err(ConnectionStringError::Nul { key, origin });
            }
            match recognized {
                Key::Setting(setting) => {
                    layer.settings.insert(setting, (value, origin));
                }
                Key::RunTime => layer.run_time.push((key, value)),
                Key::AsIs => {}
            }
        }
        Ok(layer)
    }
}

/// All sources, the one with the highest precedence first.
pub(crate) struct Layers(pub(crate) Vec<Layer>);

impl Layers {
    /// The value of a text setting. An empty value counts as unset, so that a source with lower precedence
    /// may set it.
    pub(crate) fn text(&self, key: &'static str) -> Option<&str> {
        self.text_from(key).map(|(value, _)| value)
    }

    /// The value of a text setting, with its source.
    pub(crate) fn text_from(&self, key: &'static str) -> Option<(&str, Origin)> {
        self.all(key).find(|(value, _)| !value.is_empty())
    }

    /// The value of a setting that is not free text; `None` if no source has it. An empty value is an error
    /// here: `sslmode=` is a mistake and does not select the default.
    ///
    /// # Errors
    /// `read` returns `None`: the value is not `expected`.
    pub(crate) fn parsed<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConnectionStringError> {
        let Some((value, origin)) = self.all(key).next() else { return Ok(None) };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(ConnectionStringError::Invalid { key, origin, expected }),
        }
    }

    /// The error for a value of `key` that only the code that uses it can validate.
    pub(crate) fn invalid(&self, key: &'static str, expected: &'static str) -> ConnectionStringError {
        let origin = self.text_from(key).map_or(Origin::ConnectionString, |(_, origin)| origin);
        ConnectionStringError::Invalid { key, origin, expected }
    }

    /// The run-time parameters by name, each once, with the value of highest precedence.
    pub(crate) fn run_time_parameters(&self) -> Pairs {
        let mut merged = BTreeMap::new();
        for (name, value) in self.0.iter().rev().flat_map(|layer| &layer.run_time) {
            // The server treats TimeZone and timezone as the same name.
            merged.insert(name.to_ascii_lowercase(), (name.clone(), value.clone()));
        }
        merged.into_values().collect()
    }

    fn all(&self, key: &'static str) -> impl Iterator<Item = (&str, Origin)> {
        self.0
            .iter()
            .filter_map(move |layer| layer.settings.get(key))
            .map(|(value, origin)| (value.as_str(), *origin))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn layer(origin: Origin, pairs: &[(&str, &str)]) -> Layer {
        Layer::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned(), origin))).unwrap()
    }

    fn two() -> Layers {
        Layers(vec![
            layer(
                Origin::ConnectionString,
                &[("user", ""), ("host", "a"), ("host", "b"), ("timezone", "UTC"), ("sslsni", "")],
            ),
            layer(
                Origin::Environment("X"),
                &[("user", "env"), ("host", "env"), ("TimeZone", "CET"), ("jit", "off"), ("sslsni", "1")],
            ),
        ])
    }

    #[test]
    fn the_last_value_of_the_first_source_is_used() {
        assert_eq!(two().text("host"), Some("b"));
        assert_eq!(two().text_from("user"), Some(("env", Origin::Environment("X"))));
        assert_eq!(two().text("password"), None);
    }

    #[test]
    fn an_empty_value_that_is_not_free_text_is_an_error() {
        let error = two().parsed("sslsni", "0 or 1", |value| value.parse::<u8>().ok()).unwrap_err();
        assert_eq!(error.to_string(), "sslsni in the connection string must be 0 or 1");
        assert_eq!(two().parsed("port", "a port", |value| value.parse::<u16>().ok()).unwrap(), None);
    }

    #[test]
    fn a_run_time_parameter_is_sent_once() {
        let expected = [("jit".to_owned(), "off".to_owned()), ("timezone".to_owned(), "UTC".to_owned())];
        assert_eq!(two().run_time_parameters(), expected);
    }

    #[test]
    fn a_nul_is_an_error() {
        let pairs = [("user".to_owned(), "a\0b".to_owned(), Origin::ConnectionString)];
        assert!(matches!(Layer::new(pairs), Err(ConnectionStringError::Nul { .. })));
    }
}
