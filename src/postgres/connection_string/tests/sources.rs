//! Tests of the precedence of sources.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;

use super::*;

/// An environment with a home directory, which exists as long as the first value.
fn at_home(files: &[(&str, &str)]) -> (TempDir, Environment) {
    let directory = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let environment = Environment { home: Some(directory.path().to_owned()), ..Environment::default() };
    (directory, environment)
}

#[test]
fn the_string_overrides_the_service_and_the_service_the_environment() {
    let services = "[prod]\nhost=service\nport=1\ndbname=service\nwork_mem=1\n";
    let (_home, mut environment) = at_home(&[(".pg_service.conf", services)]);
    environment.variables = variables(&[
        ("PGHOST", "env"),
        ("PGPORT", "2"),
        ("PGDATABASE", "env"),
        ("PGUSER", "env"),
        ("PGTZ", "UTC"),
    ])
    .variables;
    let settings = parse_in("host=string service=prod", &environment).unwrap();
    assert_eq!(hosts(&settings), ["string:1"]);
    assert_eq!((settings.database.as_str(), settings.user.as_str()), ("service", "env"));
    assert_eq!(settings.startup_options().as_deref(), Some("-c TimeZone=UTC -c work_mem=1"));

    environment.variables.insert("PGSERVICE".to_owned(), "prod".to_owned());
    assert_eq!(hosts(&parse_in("", &environment).unwrap()), ["service:1"]);
    let missing = parse_in("service=other", &environment).unwrap_err();
    assert!(matches!(missing, ConnectionStringError::NoSuchService { .. }));
}

#[test]
fn reads_a_service_file_at_another_path() {
    let (home, mut environment) = at_home(&[("services", "[prod]\nhost=service\nuser=me\ndbname=x\n")]);
    let path = home.path().join("services").display().to_string();
    let settings = parse_in(&format!("service=prod servicefile='{path}'"), &environment).unwrap();
    assert_eq!(hosts(&settings), ["service:5432"]);
    environment.variables = variables(&[("PGSERVICEFILE", &path)]).variables;
    assert_eq!(hosts(&parse_in("service=prod", &environment).unwrap()), ["service:5432"]);
    let error = parse_in("service=prod", &Environment::default()).unwrap_err();
    assert!(matches!(error, ConnectionStringError::NoServiceFile));
}

#[test]
fn reads_every_variable() {
    let environment = variables(&[
        ("PGHOST", "db"),
        ("PGHOSTADDR", "10.0.0.1"),
        ("PGPORT", "6432"),
        ("PGDATABASE", "retool"),
        ("PGUSER", "me"),
        ("PGPASSWORD", "secret"),
        ("PGAPPNAME", "baton"),
        ("PGCONNECT_TIMEOUT", "3"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLCERT", "c.pem"),
        ("PGSSLKEY", "k.pem"),
        ("PGSSLROOTCERT", "r.pem"),
        ("PGSSLPASSWORD", "open"),
        ("PGSSLSNI", "0"),
        ("PGTARGETSESSIONATTRS", "primary"),
        ("PGOPTIONS", "-c jit=off"),
        ("PGCHANNELBINDING", "require"),
        ("PGLOADBALANCEHOSTS", "random"),
        ("PGGSSENCMODE", "disable"),
    ]);
    let settings = parse_in("", &environment).unwrap();
    assert_eq!(settings.hosts[0].address, tcp("db", Some("10.0.0.1")));
    assert_eq!((settings.hosts[0].port, password(&settings, 0)), (6432, Some("secret")));
    assert_eq!(settings.describe(), "postgres://me@db:6432/retool (sslmode=verify-full)");
    assert_eq!(settings.application_name.as_deref(), Some("baton"));
    assert_eq!(settings.connect_timeout, Some(Duration::from_secs(3)));
    let identity = settings.ssl.identity.as_ref().unwrap();
    assert_eq!(
        (identity.certificate.as_path(), identity.key.as_path()),
        (Path::new("c.pem"), Path::new("k.pem"))
    );
    assert_eq!(identity.key_password.as_ref().unwrap().expose_secret(), "open");
    assert_eq!(settings.ssl.roots, Roots::File(PathBuf::from("r.pem")));
    assert!(!settings.ssl.sni && settings.shuffle_hosts);
    assert_eq!(settings.target_session_attrs, TargetSessionAttrs::Primary);
    assert_eq!(settings.channel_binding, ChannelBinding::Require);
    assert_eq!(settings.startup_options().as_deref(), Some("-c jit=off"));
}

#[test]
fn an_error_names_the_variable() {
    let error =
        |name, value| parse_in("user=me dbname=x", &variables(&[(name, value)])).unwrap_err().to_string();
    assert!(error("PGSSLMODE", "on").starts_with("sslmode from the environment variable PGSSLMODE must be"));
    assert!(error("PGSSLCRL", "crl.pem").starts_with("sslcrl from the environment variable PGSSLCRL is not"));
}

#[test]
fn an_empty_variable_counts_as_absent_unless_it_requests_a_protection() {
    for (variable, key) in keys::VARIABLES {
        let parsed = parse_in("user=me dbname=x", &variables(&[(variable, "")]));
        if ["channel_binding", "sslmode", "sslrootcert"].contains(key) {
            let error = parsed.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{key} from the environment variable {variable} must be")),
                "{error}"
            );
        } else {
            assert!(parsed.is_ok(), "{variable}: {parsed:?}");
        }
    }
    for text in [
        "user=me dbname=x sslmode=require sslrootcert=''",
        "postgres://me@h/x?sslrootcert=&sslmode=verify-full",
    ] {
        let error = parse_in(text, &variables(&[("PGSSLROOTCERT", "ca.pem")])).unwrap_err().to_string();
        assert!(error.starts_with("sslrootcert in the connection string must be the path"), "{error}");
    }
}

#[test]
fn reads_the_environment_of_this_process() {
    let environment = Environment::of_process();
    assert!(environment.processors >= 1);
    assert_eq!(environment.socket_directories.len(), 3);
    let libpqs = |name: &String| keys::VARIABLES.iter().any(|(variable, _)| variable == name);
    assert!(environment.variables.keys().all(libpqs));
}

// ===== passwords =====

#[test]
fn the_password_file_sets_a_password_per_host() {
    let contents = "a:5432:retool:me:first\n*:6432:*:*:second\nlocalhost:*:*:*:socket\n";
    let (_home, mut environment) = at_home(&[(".pgpass", contents), ("other", "*:*:*:*:elsewhere")]);
    let text = "host=a,b,c,/run/pg port=5432,6432,1,2 user=me dbname=retool";
    let settings = parse_in(text, &environment).unwrap();
    let passwords: Vec<_> = (0..4).map(|host| password(&settings, host)).collect();
    assert_eq!(passwords, [Some("first"), Some("second"), None, Some("socket")]);

    let given = parse_in(&format!("{text} password=given"), &environment).unwrap();
    assert!((0..4).all(|host| password(&given, host) == Some("given")));
    let other = environment.at_home("other").unwrap().display().to_string();
    let named = parse_in(&format!("{text} passfile='{other}'"), &environment).unwrap();
    assert_eq!(password(&named, 2), Some("elsewhere"));
    environment.variables.insert("PGPASSFILE".to_owned(), other);
    assert_eq!(password(&parse_in(text, &environment).unwrap(), 2), Some("elsewhere"));
    environment.variables.insert("PGPASSWORD".to_owned(), "env".to_owned());
    assert_eq!(password(&parse_in(text, &environment).unwrap(), 2), Some("env"));
}

#[test]
fn an_unsafe_password_file_is_a_warning() {
    let (home, environment) = at_home(&[(".pgpass", "*:*:*:*:secret")]);
    fs::set_permissions(home.path().join(".pgpass"), fs::Permissions::from_mode(0o644)).unwrap();
    let settings = parse_in("host=db user=me dbname=x", &environment).unwrap();
    assert_eq!((password(&settings, 0), settings.warnings.len()), (None, 1));
}

// ===== certificates =====

#[test]
fn finds_certificates_in_the_home_directory() {
    let text = "host=db user=me dbname=x";
    let (home, environment) = at_home(&[
        (".postgresql/root.crt", ""),
        (".postgresql/postgresql.crt", ""),
        (".postgresql/postgresql.key", ""),
    ]);
    let ssl = parse_in(text, &environment).unwrap().ssl;
    assert_eq!(ssl.roots, Roots::File(home.path().join(".postgresql/root.crt")));
    assert_eq!(ssl.identity.unwrap().key, home.path().join(".postgresql/postgresql.key"));
    let (_home, environment) = at_home(&[(".postgresql/postgresql.crt", "")]);
    assert!(parse_in(text, &environment).unwrap().ssl.identity.is_none());
}
