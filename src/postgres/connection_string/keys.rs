//! All keys of a connection string, and how other keys are handled.

use crate::nearest::nearest;
use crate::postgres::connection_string::error::{ConnectionStringError, Origin};

/// The supported settings. The settings in [`NO_EFFECT`] are accepted too, but have no effect.
const SUPPORTED: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "pool_health_check_period",
    "pool_max_conn_idle_time",
    "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter",
    "pool_max_conns",
    "pool_min_conns",
    "port",
    "service",
    "servicefile",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Settings in strings written for the Go driver. They are validated but have no effect: this program never
/// prepares named statements, so it has no statement cache. `statement_cache_mode=describe` and
/// `prefer_simple_protocol` were used to avoid that cache.
pub(crate) const NO_EFFECT: &[&str] =
    &["min_read_buffer_size", "prefer_simple_protocol", "statement_cache_capacity", "statement_cache_mode"];

/// Aliases, each with its key.
const ALIASES: &[(&str, &str)] = &[("database", "dbname"), ("keepalives_retries", "keepalives_count")];

/// Settings of libpq (and `ssl` of JDBC) that this program does not support, each with the values that match
/// its fixed behavior. Any other value is an error: otherwise the program would silently skip a check that
/// the value requests.
const FIXED: &[(&str, &[&str])] = &[
    ("authtype", &[]),
    ("client_encoding", &["UTF8", "utf8", "UTF-8", "utf-8"]),
    ("gssdelegation", &["0"]),
    ("gssencmode", &["disable", "prefer"]),
    ("gsslib", &[]),
    ("krbsrvname", &[]),
    ("krbspn", &[]),
    ("max_protocol_version", &["3.0", "latest"]),
    ("min_protocol_version", &["3.0"]),
    ("oauth_client_id", &[]),
    ("oauth_client_secret", &[]),
    ("oauth_issuer", &[]),
    ("oauth_scope", &[]),
    ("replication", &["0", "false", "no", "off"]),
    ("require_auth", &[]),
    ("requirepeer", &[]),
    ("requiressl", &["0"]),
    ("scram_client_key", &[]),
    ("scram_server_key", &[]),
    ("ssl", &[]),
    ("ssl_max_protocol_version", &["TLSv1.3"]),
    ("ssl_min_protocol_version", &["TLSv1.2"]),
    ("sslcertmode", &["allow"]),
    ("sslcompression", &["0"]),
    ("sslcrl", &[]),
    ("sslcrldir", &[]),
    ("sslinline", &["false"]),
    ("sslkeylogfile", &[]),
    ("sslnegotiation", &["postgres"]),
];

/// The environment variables that are read, each with the key that it sets.
///
/// The variables of [`FIXED`] keys are included, because they request something too.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("PGAPPNAME", "application_name"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGDATABASE", "dbname"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGOPTIONS", "options"),
    ("PGPASSFILE", "passfile"),
    ("PGPASSWORD", "password"),
    ("PGPORT", "port"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGREQUIRESSL", "requiressl"),
    ("PGSERVICE", "service"),
    ("PGSERVICEFILE", "servicefile"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLCERTMODE", "sslcertmode"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLPASSWORD", "sslpassword"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLSNI", "sslsni"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGTZ", "TimeZone"),
    ("PGUSER", "user"),
];

/// Names with at most this many edits from a setting count as misspelled.
const SLIP: usize = 2;

/// The meaning of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A setting of the connection, without aliases.
    Setting(&'static str),
    /// An unsupported setting of libpq whose value matches the fixed behavior of this program.
    AsIs,
    /// Any other name: a parameter for the server, which rejects unknown names.
    RunTime,
}

/// Determines the meaning of `key`.
///
/// # Errors
/// The key is not supported with this value, is misspelled, or is not a valid name.
pub(crate) fn recognize(key: &str, value: &str, origin: Origin) -> Result<Key, ConnectionStringError> {
    let canonical = ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, canonical)| canonical);
    if let Some(setting) = SUPPORTED.iter().chain(NO_EFFECT).find(|setting| **setting == canonical) {
        return Ok(Key::Setting(setting));
    }
    if let Some((_, accepted)) = FIXED.iter().find(|(fixed, _)| *fixed == key) {
        return if accepted.contains(&value) {
            Ok(Key::AsIs)
        } else {
            Err(ConnectionStringError::Unsupported { key: key.to_owned(), origin, accepted })
        };
    }
    if !is_parameter_name(key) {
        return Err(ConnectionStringError::BadName { origin });
    }
    // A key with a dot is a parameter of an extension and never a setting of the connection.
    match if key.contains('.') { None } else { nearest_key(key) } {
        Some(suggestion) => {
            Err(ConnectionStringError::Misspelled { key: key.to_owned(), origin, suggestion })
        }
        None => Ok(Key::RunTime),
    }
}

/// The known key that `key` probably means.
fn nearest_key(key: &str) -> Option<&'static str> {
    let known = SUPPORTED.iter().chain(NO_EFFECT).copied();
    let known =
        known.chain(ALIASES.iter().map(|(alias, _)| *alias)).chain(FIXED.iter().map(|(fixed, _)| *fixed));
    // Two edits turn any name of four letters into any other, so more than half of the name must match.
    nearest(&key.to_ascii_lowercase(), known, |known| SLIP.min(known.len().saturating_sub(1) / 2))
}

/// Whether the server could have a parameter with this name: identifiers joined by dots.
fn is_parameter_name(key: &str) -> bool {
    key.split('.').all(|word| {
        word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && word.chars().all(|character| character.is_ascii_alphanumeric() || "_$".contains(character))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn recognized(key: &str, value: &str) -> Result<Key, ConnectionStringError> {
        recognize(key, value, Origin::ConnectionString)
    }

    #[test]
    fn every_supported_key_and_alias_is_recognized() {
        for key in SUPPORTED.iter().chain(NO_EFFECT) {
            assert_eq!(recognized(key, "").unwrap(), Key::Setting(key));
        }
        for (alias, key) in ALIASES {
            assert_eq!(recognized(alias, "").unwrap(), Key::Setting(key));
        }
    }

    #[test]
    fn every_variable_sets_a_known_key() {
        for (variable, key) in VARIABLES {
            let fixed = FIXED.iter().any(|(fixed, _)| fixed == key);
            assert!(fixed || SUPPORTED.contains(key) || *key == "TimeZone", "{variable}");
        }
    }

    #[test]
    fn rejects_an_unsupported_setting_unless_it_changes_nothing() {
        for (key, accepted) in FIXED {
            for value in *accepted {
                assert_eq!(recognized(key, value).unwrap(), Key::AsIs, "{key}={value}");
            }
            let error = recognized(key, "something else").unwrap_err();
            assert!(matches!(error, ConnectionStringError::Unsupported { .. }), "{error}");
            assert!(
                error.to_string().contains(key) && !error.to_string().contains("something else"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_misspelled_key_gets_a_suggestion() {
        for (slip, meant) in [
            ("sslmod", "sslmode"),
            ("ssl_mode", "sslmode"),
            ("SSLMODE", "sslmode"),
            ("sslroot_cert", "sslrootcert"),
            ("Password", "password"),
            ("databse", "database"),
            ("hots", "host"),
            ("pool_max_con", "pool_max_conns"),
            ("gssencmod", "gssencmode"),
        ] {
            let error = recognized(slip, "x").unwrap_err();
            assert!(
                matches!(error, ConnectionStringError::Misspelled { suggestion, .. } if suggestion == meant),
                "{slip}: {error}"
            );
        }
    }

    #[test]
    fn passes_other_names_to_the_server() {
        // A sample of Postgres's session parameters; short names first, because they are the most similar to
        // our settings.
        for parameter in [
            "jit",
            "role",
            "seed",
            "geqo",
            "search_path",
            "statement_timeout",
            "idle_in_transaction_session_timeout",
            "work_mem",
            "TimeZone",
            "DateStyle",
            "tcp_keepalives_idle",
            "tcp_keepalives_count",
            "default_transaction_read_only",
            "lc_time",
            "pool.max_conns",
            "app.user",
        ] {
            assert_eq!(recognized(parameter, "x").unwrap(), Key::RunTime, "{parameter}");
        }
    }

    #[test]
    fn an_invalid_name_is_not_repeated() {
        for name in ["", "mysql://me:hunter2@db/x?a", "1hunter2", "hunter2!", "a..hunter2", "hunter2 "] {
            let error = recognized(name, "x").unwrap_err();
            assert!(matches!(error, ConnectionStringError::BadName { .. }), "{name}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
