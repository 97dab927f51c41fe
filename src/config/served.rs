//! The configuration that ConductorOne serves to a hosted connector: a source of settings that overrides all
//! others.

use config::{Value as ConfigValue, ValueKind};
use serde_json::{Map, Value};

use crate::config::error::{Origin, Warning};
use crate::config::layer::Layer;
use crate::config::names;
use crate::config::table;

/// Reads a served configuration, with a warning for each unknown key.
pub(super) fn layer(served: &Map<String, Value>, warnings: &mut Vec<Warning>) -> Layer {
    let mut layer = Layer::default();
    for (key, value) in served {
        let Some(setting) = table::every().find(|setting| setting.name.eq_ignore_ascii_case(key)) else {
            if !names::is_go_connector_key(key) {
                warnings.push(unknown(key));
            }
            continue;
        };
        // Null sets nothing.
        if value.is_null() {
            continue;
        }
        let origin = Origin::Served(setting.name);
        if !layer.insert(setting.name, kind(value), origin.clone()) {
            layer.insert_unreadable(setting.name, "it is set twice", origin);
        }
    }
    layer
}

fn unknown(key: &str) -> Warning {
    Warning::UnknownServedKey { key: names::misspelled(key) }
}

/// Converts a JSON value to a value of a config file. A whole number becomes an integer in every notation.
fn kind(value: &Value) -> ValueKind {
    match value {
        Value::Null => ValueKind::Nil,
        Value::Bool(value) => ValueKind::Boolean(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => ValueKind::I64(whole),
            (None, Some(number)) if number.fract() == 0.0 && number.abs() < 9e15 => {
                ValueKind::I64(number as i64)
            }
            (None, number) => ValueKind::Float(number.unwrap_or_default()),
        },
        Value::String(text) => ValueKind::String(text.clone()),
        Value::Array(items) => {
            ValueKind::Array(items.iter().map(|item| ConfigValue::new(None, kind(item))).collect())
        }
        Value::Object(_) => ValueKind::Table(config::Map::new()),
    }
}
