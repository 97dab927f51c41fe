//! Tests of complete connection strings in artificial environments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod output;
mod sources;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::postgres::connection_string::error::ConnectionStringError;
use crate::postgres::connection_string::pool_settings::PoolSettings;
use crate::postgres::connection_string::session_settings::{ChannelBinding, Keepalive, TargetSessionAttrs};
use crate::postgres::tls::{Roots, SslMode};

fn parse_in(text: &str, environment: &Environment) -> Result<ConnectionSettings, ConnectionStringError> {
    ConnectionSettings::parse(&text.into(), environment)
}

/// Parses `text` after the minimum that every string needs.
fn parse(text: &str) -> Result<ConnectionSettings, ConnectionStringError> {
    parse_in(&format!("host=db user=me dbname=retool {text}"), &Environment::default())
}

fn parsed(text: &str) -> ConnectionSettings {
    parse(text).unwrap()
}

fn variables(pairs: &[(&str, &str)]) -> Environment {
    let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment { variables: variables.collect(), ..Environment::default() }
}

fn password(settings: &ConnectionSettings, host: usize) -> Option<&str> {
    settings.hosts[host].password.as_ref().map(ExposeSecret::expose_secret)
}

fn hosts(settings: &ConnectionSettings) -> Vec<String> {
    settings.hosts.iter().map(ToString::to_string).collect()
}

fn tcp(name: &str, address: Option<&str>) -> Address {
    Address::Tcp { name: name.to_owned(), address: address.map(|address| address.parse().unwrap()) }
}

// ===== each key =====

#[test]
fn a_minimal_string_has_the_documented_defaults() {
    let environment = Environment { processors: 2, ..Environment::default() };
    let settings = parse_in("user=me dbname=retool", &environment).unwrap();
    assert_eq!((settings.user.as_str(), settings.database.as_str()), ("me", "retool"));
    assert_eq!((settings.hosts[0].address.clone(), settings.hosts[0].port), (tcp("localhost", None), 5432));
    assert_eq!(settings.ssl.mode, SslMode::Prefer);
    assert_eq!(settings.ssl.roots, Roots::Platform);
    assert!(settings.ssl.sni && settings.ssl.identity.is_none());
    assert_eq!((settings.connect_timeout, settings.tcp_user_timeout), (None, None));
    assert_eq!(settings.keepalive, Some(Keepalive::default()));
    assert_eq!(settings.target_session_attrs, TargetSessionAttrs::Any);
    assert_eq!(settings.channel_binding, ChannelBinding::Prefer);
    assert_eq!((settings.application_name.clone(), settings.startup_options()), (None, None));
    assert_eq!(
        settings.pool,
        PoolSettings {
            max_connections: 4,
            min_connections: 0,
            max_lifetime: Duration::from_secs(3600),
            max_lifetime_jitter: Duration::ZERO,
            max_idle_time: Duration::from_secs(1800),
            health_check_period: Duration::from_secs(60),
        }
    );
    assert!(settings.warnings.is_empty() && !settings.shuffle_hosts);
    let environment = Environment { processors: 16, ..Environment::default() };
    assert_eq!(parse_in("user=me dbname=x", &environment).unwrap().pool.max_connections, 16);
}

#[test]
fn reads_settings_of_sessions_and_sockets() {
    let settings = parsed(
        "application_name=baton connect_timeout=7 tcp_user_timeout=1500 keepalives_idle=30 keepalives_interval=5 \
         keepalives_count=3 channel_binding=require load_balance_hosts=random",
    );
    assert_eq!(settings.application_name.as_deref(), Some("baton"));
    assert_eq!(settings.connect_timeout, Some(Duration::from_secs(7)));
    assert_eq!(settings.tcp_user_timeout, Some(Duration::from_millis(1500)));
    let (idle, interval) = (Some(Duration::from_secs(30)), Some(Duration::from_secs(5)));
    assert_eq!(settings.keepalive, Some(Keepalive { idle, interval, count: Some(3) }));
    assert_eq!(settings.channel_binding, ChannelBinding::Require);
    assert!(settings.shuffle_hosts);

    assert_eq!(parsed("keepalives=0").keepalive, None);
    assert_eq!(parsed("keepalives_retries=9").keepalive.unwrap().count, Some(9));
    assert_eq!(parsed("connect_timeout=0").connect_timeout, None);
    assert_eq!(parsed("channel_binding=disable").channel_binding, ChannelBinding::Disable);
    assert_eq!(parsed("fallback_application_name=x").application_name.as_deref(), Some("x"));
    let both = parsed("fallback_application_name=x application_name=y");
    assert_eq!(both.application_name.as_deref(), Some("y"));
    assert_eq!(parsed("database=other").database, "other");
}

#[test]
fn reads_every_kind_of_server() {
    use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
    for (name, kind) in [
        ("any", Any),
        ("read-write", ReadWrite),
        ("read-only", ReadOnly),
        ("primary", Primary),
        ("standby", Standby),
        ("prefer-standby", PreferStandby),
    ] {
        assert_eq!(parsed(&format!("target_session_attrs={name}")).target_session_attrs, kind);
        let takes_both = kind.accepts(true, true) && kind.accepts(false, false);
        assert_eq!(takes_both, kind == Any);
    }
    assert!(ReadWrite.accepts(false, false) && !ReadWrite.accepts(false, true));
    assert!(ReadOnly.accepts(false, true) && !ReadOnly.accepts(true, false));
    assert!(Primary.accepts(false, true) && !Primary.accepts(true, true));
    assert!(Standby.accepts(true, true) && PreferStandby.accepts(true, true));
    assert!(!Standby.accepts(false, true) && !PreferStandby.accepts(false, true));
}

#[test]
fn reads_the_pool_settings() {
    let settings = parsed(
        "pool_max_conns=9 pool_min_conns=9 pool_max_conn_lifetime=1h30m pool_max_conn_idle_time=90s \
         pool_health_check_period=250ms pool_max_conn_lifetime_jitter=5m",
    );
    assert_eq!(
        settings.pool,
        PoolSettings {
            max_connections: 9,
            min_connections: 9,
            max_lifetime: Duration::from_secs(5400),
            max_lifetime_jitter: Duration::from_secs(300),
            max_idle_time: Duration::from_secs(90),
            health_check_period: Duration::from_millis(250),
        }
    );
    let error = parse("pool_max_conns=2 pool_min_conns=3").unwrap_err();
    assert!(matches!(error, ConnectionStringError::PoolBounds { min: 3, max: 2 }));
}

#[test]
fn settings_of_the_go_driver_are_accepted_without_effect() {
    let text = "statement_cache_capacity=512 statement_cache_mode=describe prefer_simple_protocol=true \
                min_read_buffer_size=8192";
    assert_eq!(parsed(text).startup_options(), None);
}

#[test]
fn an_invalid_value_is_an_error_that_names_the_setting() {
    for text in [
        "sslmode=verify_full",
        "sslmode=",
        "sslmode=REQUIRE",
        "sslsni=yes",
        "target_session_attrs=master",
        "channel_binding=maybe",
        "load_balance_hosts=yes",
        "connect_timeout=-1",
        "connect_timeout=5s",
        "keepalives=2",
        "keepalives_idle=x",
        "keepalives_interval=x",
        "keepalives_count=x",
        "tcp_user_timeout=99999999999",
        "port=0",
        "port=65536",
        "port=http",
        "hostaddr=db",
        "host=@abstract",
        "pool_max_conns=0",
        "pool_min_conns=-1",
        "pool_max_conn_lifetime=0",
        "pool_max_conn_idle_time=0s",
        "pool_health_check_period=60",
        "pool_max_conn_lifetime_jitter=-1s",
        "statement_cache_capacity=-1",
        "statement_cache_mode=none",
        "prefer_simple_protocol=yes",
        "min_read_buffer_size=big",
    ] {
        let (key, value) = text.split_once('=').unwrap();
        let error = parse(text).unwrap_err();
        assert!(
            matches!(error, ConnectionStringError::Invalid { key: named, .. } if named == key),
            "{text}: {error}"
        );
        let expected = format!("{key} in the connection string must be ");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(value.is_empty() || !format!("{error:?}").contains(&format!("\"{value}\"")), "{error:?}");
    }
}

#[test]
fn a_user_and_a_database_are_required() {
    let someone = Environment { user: Some(String::from("os")), ..Environment::default() };
    assert_eq!(parse_in("dbname=x", &someone).unwrap().user, "os");
    let nobody = Environment::default();
    assert!(matches!(parse_in("dbname=x", &nobody), Err(ConnectionStringError::NoUser)));
    assert!(matches!(parse_in("user=me", &nobody), Err(ConnectionStringError::NoDatabase)));
    assert!(matches!(parse_in("user=me dbname=''", &nobody), Err(ConnectionStringError::NoDatabase)));
    assert!(matches!(parse_in("postgres://me@db/", &nobody), Err(ConnectionStringError::NoDatabase)));
}

// ===== hosts =====

#[test]
fn reads_several_hosts_in_both_forms() {
    let environment = Environment::default();
    let keyword = parse_in("host=a,/run/pg,::1 port=1,,3 user=me dbname=x", &environment).unwrap();
    assert_eq!(hosts(&keyword), ["a:1", "/run/pg/.s.PGSQL.5432", "[::1]:3"]);
    let url = parse_in("postgres://me@a:1,%2Frun%2Fpg,[::1]:3/x", &environment).unwrap();
    assert_eq!(hosts(&url), hosts(&keyword));
    assert_eq!(hosts(&parsed("host=a,b port=7")), ["a:7", "b:7"]);
    let query = parse_in("postgresql:///x?user=me&host=/run/pg&port=7", &environment).unwrap();
    assert_eq!(hosts(&query), ["/run/pg/.s.PGSQL.7"]);
}

#[test]
fn an_address_replaces_the_lookup_and_keeps_the_name() {
    let settings = parsed("host=a,b hostaddr=10.0.0.1,");
    assert_eq!(settings.hosts[0].address, tcp("a", Some("10.0.0.1")));
    assert_eq!(settings.hosts[1].address, tcp("b", None));
    let alone = parse_in("hostaddr=::1 user=me dbname=x", &Environment::default()).unwrap();
    assert_eq!(alone.hosts[0].address, tcp("::1", Some("::1")));
}

#[test]
fn rejects_lists_of_different_lengths() {
    for (text, list) in [
        ("host=a,b port=1,2,3", "port"),
        ("host=a,b hostaddr=::1", "hostaddr"),
        ("host=a hostaddr=::1,::2", "host"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(
            matches!(error, ConnectionStringError::ListLength { key, .. } if key == list),
            "{text}: {error}"
        );
    }
}

#[test]
fn searches_for_a_socket_without_a_host() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    fs::write(directories[1].path().join(".s.PGSQL.6432"), "").unwrap();
    let socket_directories = directories.iter().map(|directory| directory.path().to_owned()).collect();
    let environment = Environment { socket_directories, ..Environment::default() };
    let address = |text: &str| parse_in(text, &environment).unwrap().hosts[0].address.clone();
    assert_eq!(address("user=me dbname=x port=6432"), Address::Unix(directories[1].path().to_owned()));
    assert_eq!(address("user=me dbname=x"), tcp("localhost", None));
}

// ===== TLS =====

#[test]
fn reads_every_ssl_mode() {
    for name in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] {
        assert_eq!(parsed(&format!("sslmode={name}")).ssl.mode.to_string(), name);
    }
}

#[test]
fn the_platforms_roots_require_the_strongest_mode() {
    let settings = parsed("sslrootcert=system");
    assert_eq!((settings.ssl.mode, settings.ssl.roots), (SslMode::VerifyFull, Roots::Platform));
    for mode in ["disable", "prefer", "require", "verify-ca"] {
        let error = parse(&format!("sslrootcert=system sslmode={mode}")).unwrap_err();
        assert!(matches!(error, ConnectionStringError::WeakSystemRoots), "{mode}");
    }
}

#[test]
fn warns_of_roots_that_are_not_used() {
    for (mode, warnings) in
        [("allow", 1), ("prefer", 1), ("require", 0), ("verify-ca", 0), ("verify-full", 0)]
    {
        let settings = parsed(&format!("sslrootcert=r.pem sslmode={mode}"));
        assert_eq!(settings.warnings.len(), warnings, "{mode}");
        assert_eq!(settings.ssl.roots, Roots::File(PathBuf::from("r.pem")));
    }
}

#[test]
fn half_a_client_certificate_is_an_error() {
    for (text, given) in [("sslcert=c.pem", "sslcert"), ("sslkey=k.pem", "sslkey")] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, ConnectionStringError::HalfIdentity { given: named, .. } if named == given));
    }
}

#[test]
fn rejects_a_name_that_may_hold_a_password_without_repeating_it() {
    for (text, key) in [
        ("host=h user=u dbname=postgres://u:hunter2@h/db", "dbname"),
        ("host=h user=u dbname='host=h password=hunter2'", "dbname"),
        ("host=h dbname=d user=a:hunter2", "user"),
        ("host=h user=u dbname=u:hunter2@h/db", "dbname"),
        ("host=h user=u dbname=u:hunter2", "dbname"),
        ("host=h user=u dbname=hunter2@h", "dbname"),
        ("host=h user=u dbname=h/hunter2", "dbname"),
        ("host=u:hunter2@h user=u dbname=d", "host"),
        ("host=u:hunter2 user=u dbname=d", "host"),
        ("host=h,u:hunter2 user=u dbname=d", "host"),
        ("host=//u:hunter2@h user=u dbname=d", "host"),
        ("host=//hunter2 user=u dbname=d", "host"),
        ("host=/run/u:hunter2@h user=u dbname=d", "host"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(key) && !error.contains("hunter2"), "{error}");
    }
    for (name, value) in [
        ("PGDATABASE", "postgres://u:hunter2@h/db"),
        ("PGDATABASE", "u:hunter2@h/db"),
        ("PGHOST", "u:hunter2"),
        ("PGHOST", "//u:hunter2@h"),
    ] {
        let mut set = vec![("PGDATABASE", "d"), ("PGUSER", "u"), ("PGHOST", "h")];
        set.retain(|(other, _)| *other != name);
        set.push((name, value));
        for text in ["", "postgres://"] {
            let error = parse_in(text, &variables(&set)).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        }
    }
    for (url, said) in [
        ("postgres://u@h/d:hunter2", "database name"),
        ("postgres://u@h/hunter2@h", "database name"),
        ("postgres://u@h/?dbname=u:hunter2@h/d", "database name"),
        ("postgres://u@h/?dbname=postgres%3A%2F%2Fu%3Ahunter2%40h%2Fdb", "dbname"),
    ] {
        let error = parse_in(url, &Environment::default()).unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn accepts_separators_that_are_a_part_of_a_name() {
    let url = parse_in("postgres://u@h/a%3Ab%2Fc%40d", &Environment::default()).unwrap();
    assert_eq!(url.database, "a:b/c@d");
    for host in ["::1", "fe80::1%eth0", "/var/run/postgresql", "/cloudsql/p:europe-west1:i"] {
        parsed(&format!("host={host} user=u dbname=d"));
    }
}

#[test]
fn a_password_in_place_of_a_file_is_not_repeated() {
    for key in ["passfile", "servicefile", "sslkey", "sslcert", "sslrootcert"] {
        for secret in ["hunter2", "'-----BEGIN PRIVATE KEY-----\nMC4hunter2/x\n-----END PRIVATE KEY-----'"] {
            let rest = match key {
                "servicefile" => "service=s",
                "sslkey" => "sslcert=none.pem",
                "sslcert" => "sslkey=none.pem",
                _ => "sslmode=verify-full",
            };
            let text = format!("host=h user=u dbname=d {rest} {key}={secret}");
            let said = match parse(&text) {
                Ok(settings) => match crate::postgres::tls::connector(&settings.ssl) {
                    Err(error) => format!("{} {error}", settings.warnings.join(" ")),
                    Ok(_) => settings.warnings.join(" "),
                },
                Err(error) => error.to_string(),
            };
            assert!(!said.is_empty() && !said.contains("hunter2"), "{key}: {said}");
        }
    }
}

#[test]
fn explains_the_ssl_mode_of_retools_chart() {
    let error = parse("sslmode=no-verify").unwrap_err().to_string();
    assert!(error.contains("require instead of no-verify"), "{error}");
}
