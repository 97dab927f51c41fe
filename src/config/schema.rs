//! The settings as a form for ConductorOne's tools, with one field per setting.

use crate::config::setting::{DefaultValue, Fallback, Kind, Relation, Setting};
use crate::config::table;
use crate::proto::config::{
    BoolField, Configuration, Constraint, ConstraintKind, Field, Int64Rules, IntField, StringField,
    StringRules, StringSliceField, field,
};

/// The operational settings, which precede those of the connector. Tools identify the fields by name and use
/// this order.
const OPERATIONS: &[&str] = &[
    "log-level",
    "log-level-debug-expires-at",
    "session-store-maximum-size",
    "otel-collector-endpoint",
    "otel-collector-endpoint-tls-cert-path",
    "otel-collector-endpoint-tls-cert",
    "otel-collector-endpoint-tls-insecure",
    "otel-tracing-disabled",
    "otel-logging-disabled",
    "health-check",
    "health-check-port",
    "health-check-bind-address",
    "http-timeout-seconds",
];

/// The settings of the connector, with their display names.
const CONNECTOR: &[(&str, &str)] = &[
    ("connection-string", "Connection String"),
    ("skip-pages", "Skip Pages"),
    ("skip-resources", "Skip Resources"),
    ("skip-disabled-users", "Skip Disabled Users"),
    ("retool-api-base-url", "Retool API Base URL"),
    ("retool-api-token", "Retool API Token"),
];

/// The form. It has only the settings that a tool can fill in, without the listener's address and the
/// settings of a single run.
pub(crate) fn schema() -> Configuration {
    let operations = OPERATIONS.iter().filter_map(|name| {
        let setting = table::named(name)?;
        Some(Field { is_ops: true, ..described(setting, "") })
    });
    let connector = CONNECTOR.iter().filter_map(|(name, title)| Some(described(table::named(name)?, title)));
    Configuration {
        fields: operations.chain(connector).collect(),
        constraints: together(),
        display_name: "Retool".to_owned(),
        help_url: "/docs/baton/retool".to_owned(),
        icon_url: "/static/app-icons/retool.svg".to_owned(),
        ..Default::default()
    }
}

fn described(setting: &Setting, title: &str) -> Field {
    let is_required = matches!(setting.fallback, Fallback::Required);
    Field {
        name: setting.name.to_owned(),
        display_name: title.to_owned(),
        description: setting.help.to_owned(),
        is_required,
        is_secret: setting.secret,
        field: Some(kind(setting, is_required)),
        ..Default::default()
    }
}

fn kind(setting: &Setting, is_required: bool) -> field::Field {
    let default = match setting.fallback {
        Fallback::Value(value) => Some(value),
        _ => None,
    };
    match setting.kind {
        Kind::Switch => field::Field::BoolField(BoolField {
            default_value: matches!(default, Some(DefaultValue::Switch(true))),
            ..Default::default()
        }),
        Kind::Whole { min, max } => field::Field::IntField(IntField {
            default_value: match default {
                Some(DefaultValue::Whole(number)) => number.into(),
                _ => 0,
            },
            rules: Some(Int64Rules { gte: Some(min.into()), lte: Some(max.into()), ..Default::default() }),
            ..Default::default()
        }),
        Kind::Texts | Kind::LogTargets => field::Field::StringSliceField(StringSliceField::default()),
        _ => field::Field::StringField(StringField {
            default_value: default.map(|value| value.to_string()).unwrap_or_default(),
            rules: is_required.then(|| StringRules { is_required: true, ..Default::default() }),
            ..Default::default()
        }),
    }
}

/// The pairs of settings in the form that require each other, each pair once.
fn together() -> Vec<Constraint> {
    let pair = |name: &str| {
        let setting = table::named(name)?;
        match setting.relation {
            Some(Relation::GoesWith(other)) => Some((setting.name, other)),
            _ => None,
        }
    };
    let names: Vec<&str> = CONNECTOR.iter().map(|(name, _)| *name).collect();
    let place = |name: &str| names.iter().position(|known| *known == name);
    let pairs = names.iter().filter_map(|name| pair(name));
    pairs
        .filter(|(one, other)| place(one) < place(other))
        .map(|(one, other)| Constraint {
            kind: ConstraintKind::RequiredTogether.into(),
            field_names: vec![one.to_owned(), other.to_owned()],
            ..Default::default()
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_a_setting_and_every_pair_is_listed_once() {
        let schema = schema();
        assert_eq!(schema.fields.len(), OPERATIONS.len() + CONNECTOR.len());
        let [constraint] = &schema.constraints[..] else { panic!("{:?}", schema.constraints) };
        assert_eq!(constraint.field_names, ["retool-api-base-url", "retool-api-token"]);
        let secret: Vec<_> =
            schema.fields.iter().filter(|field| field.is_secret).map(|field| &field.name).collect();
        assert_eq!(secret, ["connection-string", "retool-api-token"]);
    }
}
