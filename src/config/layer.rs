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

    /// The origin of each value, by the setting's name.
    pub(super) fn origins(&self) -> &BTreeMap<&'static str, Origin> {
        &self.origins
    }

    /// Removes a value.
    pub(super) fn remove(&mut self, setting: &str) {
        self.values.remove(setting);
        self.origins.remove(setting);
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
