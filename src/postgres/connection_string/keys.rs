//! Every key a connection string may have, and what becomes of any other.

use crate::nearest::nearest;
use crate::postgres::connection_string::error::{ConnectionStringError, Origin};

/// The settings this program honours or, where [`NO_EFFECT`] says so, takes without effect.
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

/// Settings of the Go driver that strings written for it carry. They are checked like the others and change
/// nothing here: no statement is ever prepared under a name, so there is no statement cache, which is also
/// what `statement_cache_mode=describe` and `prefer_simple_protocol` were used for.
pub(crate) const NO_EFFECT: &[&str] =
    &["min_read_buffer_size", "prefer_simple_protocol", "statement_cache_capacity", "statement_cache_mode"];

/// Other spellings, each with the key it stands for.
const ALIASES: &[(&str, &str)] = &[("database", "dbname"), ("keepalives_retries", "keepalives_count")];

/// Settings of libpq (and `ssl` of JDBC) that nothing here can be told, each with the values that describe
/// what happens anyway. To ignore the others would be to promise a check that is not made.
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

/// The environment variables that are read, each with the key it sets.
///
/// Those of [`FIXED`] keys are here because they too ask for something.
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

/// Names closer to a setting than this many edits are taken for a slip of the pen.
const SLIP: usize = 2;

/// What a key turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A setting of the connection, under its one spelling.
    Setting(&'static str),
    /// A setting of libpq whose value says what happens anyway.
    AsIs,
    /// Nothing known: a parameter for the server, which refuses what it does not know either.
    RunTime,
}

/// Tells what `key` is.
///
/// # Errors
/// The key cannot be honoured with this value, is a slip of the pen, or is no name at all.
pub(crate) fn recognise(key: &str, value: &str, origin: Origin) -> Result<Key, ConnectionStringError> {
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
    // A dot makes it a parameter of an extension, which no setting of the connection is.
    match if key.contains('.') { None } else { nearest_key(key) } {
        Some(suggestion) => {
            Err(ConnectionStringError::Misspelled { key: key.to_owned(), origin, suggestion })
        }
        None => Ok(Key::RunTime),
    }
}

/// The known key that `key` is probably meant to be.
fn nearest_key(key: &str) -> Option<&'static str> {
    let known = SUPPORTED.iter().chain(NO_EFFECT).copied();
    let known =
        known.chain(ALIASES.iter().map(|(alias, _)| *alias)).chain(FIXED.iter().map(|(fixed, _)| *fixed));
    // Among names of four letters two edits reach anything, so more than half of the name has to be right.
    nearest(&key.to_ascii_lowercase(), known, |known| SLIP.min(known.len().saturating_sub(1) / 2))
}

/// Whether the server could know a parameter of this name: words joined by dots.
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

    fn recognised(key: &str, value: &str) -> Result<Key, ConnectionStringError> {
        recognise(key, value, Origin::ConnectionString)
    }

    #[test]
    fn every_supported_key_and_alias_has_one_spelling() {
        for key in SUPPORTED.iter().chain(NO_EFFECT) {
            assert_eq!(recognised(key, "").unwrap(), Key::Setting(key));
        }
        for (alias, key) in ALIASES {
            assert_eq!(recognised(alias, "").unwrap(), Key::Setting(key));
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
    fn what_cannot_be_honoured_is_refused_unless_it_changes_nothing() {
        for (key, accepted) in FIXED {
            for value in *accepted {
                assert_eq!(recognised(key, value).unwrap(), Key::AsIs, "{key}={value}");
            }
            let error = recognised(key, "something else").unwrap_err();
            assert!(matches!(error, ConnectionStringError::Unsupported { .. }), "{error}");
            assert!(
                error.to_string().contains(key) && !error.to_string().contains("something else"),
                "{error}"
            );
        }
    }

    #[test]
    fn slips_of_the_pen_are_pointed_out() {
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
            let error = recognised(slip, "x").unwrap_err();
            assert!(
                matches!(error, ConnectionStringError::Misspelled { suggestion, .. } if suggestion == meant),
                "{slip}: {error}"
            );
        }
    }

    #[test]
    fn other_names_are_the_servers() {
        // A sample of what Postgres lets a session set, short names first as they are nearest to ours.
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
            assert_eq!(recognised(parameter, "x").unwrap(), Key::RunTime, "{parameter}");
        }
    }

    #[test]
    fn what_is_no_name_is_not_repeated() {
        for name in ["", "mysql://me:hunter2@db/x?a", "1hunter2", "hunter2!", "a..hunter2", "hunter2 "] {
            let error = recognised(name, "x").unwrap_err();
            assert!(matches!(error, ConnectionStringError::BadName { .. }), "{name}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
