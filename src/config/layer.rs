//! The values of one source of settings.

use std::collections::BTreeMap;
use std::fmt;

use config::{ConfigError, Map, Source, Value, ValueKind};

use crate::config::error::Origin;

/// The values of one source, by the setting's name.
#[derive(Clone, Default)]
pub(super) struct Layer {
    values: Map<String, Value>,
    origins: BTreeMap<&'static str, Origin>,
    unreadable: BTreeMap<&'static str, &'static str>,
}

impl Layer {
    /// Adds a value; returns false if the setting already has one.
    pub(super) fn insert(
        &mut self,
        setting: &'static str,
        value: impl Into<ValueKind>,
        origin: Origin,
    ) -> bool {
        self.values.insert(setting.to_owned(), Value::new(None, value));
        self.origins.insert(setting, origin).is_none()
    }

    /// Adds a setting whose value cannot be read, for this reason. It overrides other sources like a value, so that
    /// it is reported together with the other invalid settings.
    pub(super) fn insert_unreadable(&mut self, setting: &'static str, problem: &'static str, origin: Origin) {
        self.insert(setting, ValueKind::Nil, origin);
        self.unreadable.insert(setting, problem);
    }

    /// The reason why the value cannot be read; `None` if it can be read.
    pub(super) fn problem(&self, setting: &str) -> Option<&'static str> {
        self.unreadable.get(setting).copied()
    }

    /// The origin of each value, by the setting's name.
    pub(super) fn origins(&self) -> &BTreeMap<&'static str, Origin> {
        &self.origins
    }

    /// Removes a value.
    pub(super) fn remove(&mut self, setting: &str) {
        self.values.remove(setting);
        self.origins.remove(setting);
        self.unreadable.remove(setting);
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone())
    }
}

impl fmt::Debug for Layer {
    /// Prints names only: the values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layer").field(&self.origins.keys()).finish()
    }
}
