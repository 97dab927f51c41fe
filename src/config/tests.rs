#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod changes;
mod files;
mod logs;
mod rest;
mod server;
mod service;
mod sync;
mod telemetry;
mod values;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use clap::{ArgMatches, Command};
use proptest::prelude::*;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::config::setting::{Fallback, Group, Kind, Relation, SettingStatus};
use crate::config::settings::Shown;
use crate::connector::Options;
use crate::postgres::pool::Timeouts;
use crate::server::transport::tls::TlsFiles;
use crate::server::{Endpoint, Limits, Security, ServerSettings};
use crate::telemetry::settings::{
    CollectorTls, LogFormat, LogLevel, LogSettings, LogTarget, TelemetrySettings,
};

const DSN: &str = "postgres://retool:hunter2@db/hammerhead";

/// A configuration of all sources; at first only a variable sets the connection string.
struct Setup {
    flags: Vec<String>,
    sources: Sources,
    directory: TempDir,
}

impl Setup {
    fn new() -> Self {
        Self::bare().variable("BATON_CONNECTION_STRING", DSN)
    }

    fn bare() -> Self {
        let directory = TempDir::new().unwrap();
        let sources = Sources {
            environment: Default::default(),
            working_directory: directory.path().to_owned(),
            stdout_is_terminal: false,
        };
        Self { flags: Vec::new(), sources, directory }
    }

    fn flags<const N: usize>(mut self, flags: [&str; N]) -> Self {
        self.flags = flags.map(str::to_owned).to_vec();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.insert(name.into(), value.into());
        self
    }

    fn file(self, text: impl AsRef<[u8]>) -> Self {
        self.file_called(".baton.yaml", text)
    }

    fn file_called(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    fn matches(&self) -> ArgMatches {
        let command = Command::new("t").args(arguments()).subcommand(Command::new("serve"));
        command.try_get_matches_from([&["t".to_owned()], &self.flags[..]].concat()).unwrap()
    }

    fn load(&self) -> Result<(Settings, Vec<Warning>), Error> {
        load(&self.matches(), &self.sources)
    }

    fn settings(&self) -> Settings {
        let (settings, warnings) = self.load().unwrap();
        assert_eq!(warnings, []);
        settings
    }

    fn warnings(&self) -> Vec<String> {
        let directory = format!("{}/", self.directory.path().display());
        self.load().unwrap().1.iter().map(|warning| warning.to_string().replace(&directory, "")).collect()
    }

    /// The message, with the temporary directory removed from file names.
    fn error(&self) -> String {
        let directory = format!("{}/", self.directory.path().display());
        self.load().unwrap_err().to_string().replace(&directory, "")
    }
}

/// The timeouts for a statement, a new connection and a free connection, in seconds.
fn timeouts(statement: u64, connect: u64, pool: u64) -> Timeouts {
    let [statement, connect, pool] = [statement, connect, pool].map(Duration::from_secs);
    Timeouts { statement, connect, pool }
}

/// The port of the listener.
fn port(settings: &Settings) -> u16 {
    match &settings.server.listen {
        Endpoint::Tcp { port, .. } => *port,
        Endpoint::Unix(path) => panic!("{} has no port", path.display()),
    }
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let port = |setup: &Setup| port(&setup.settings());
    let file = Setup::new().file("listen: h:1\n");
    assert_eq!(port(&file), 1, "file over default");
    let variable = file.variable("BATON_LISTEN", "h:2");
    assert_eq!(port(&variable), 2, "variable over file");
    let flag = variable.flags(["--listen", "h:3"]);
    assert_eq!(port(&flag), 3, "flag over variable and file");
    let flag = Setup::new().file("listen: h:1\n").flags(["--listen", "h:3"]);
    assert_eq!(port(&flag), 3, "flag over file");
    let flag = Setup::new().flags(["--listen", "h:3"]);
    assert_eq!(port(&flag), 3, "flag over default");
    let variable = Setup::new().variable("BATON_LISTEN", "h:2");
    assert_eq!(port(&variable), 2, "variable over default");
}

#[test]
fn a_source_with_precedence_can_turn_a_switch_off() {
    let setup = Setup::new().file("provisioning: true\n").variable("BATON_PROVISIONING", "0");
    assert!(!setup.settings().scope.provisioning);
    assert!(setup.flags(["-p"]).settings().scope.provisioning);
    let setup = Setup::new().variable("BATON_SKIP_PAGES", "1").flags(["--skip-pages=false"]);
    assert!(!setup.settings().scope.skip_pages);
}

#[test]
fn accepts_flags_before_and_after_the_command_in_any_form() {
    for flags in [
        &["-p", "--listen", "h:1", "serve"][..],
        &["--provisioning=true", "serve", "--listen=h:1"],
        &["serve", "-p=T", "--listen", "h:1"],
        &["--listen=h:9", "--listen=h:1", "-p=false", "--provisioning", "serve"],
    ] {
        let mut setup = Setup::new();
        setup.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let settings = setup.settings();
        assert!(settings.scope.provisioning, "{flags:?}");
        assert_eq!(port(&settings), 1, "{flags:?}");
    }
}

#[test]
fn settings_can_be_loaded_from_matches_of_a_command() {
    let command = Command::new("t").args(arguments()).subcommand(Command::new("serve"));
    let matches = command.try_get_matches_from(["t", "--listen=h:1", "serve", "--skip-pages"]).unwrap();
    let setup = Setup::new();
    let (settings, _) = load(matches.subcommand_matches("serve").unwrap(), &setup.sources).unwrap();
    assert_eq!(port(&settings), 1);
    assert!(settings.scope.skip_pages);
}

#[test]
fn a_missing_connection_string_error_names_every_source() {
    let message = "connection-string is required: set the flag --connection-string, the variable \
                   BATON_CONNECTION_STRING or the key connection-string in the config file";
    assert_eq!(Setup::bare().error(), message);
    assert_eq!(Setup::bare().variable("BATON_CONNECTION_STRING", "").error(), message);
    assert_eq!(Setup::new().flags(["--connection-string", " "]).error(), message);
    assert_eq!(Setup::bare().file("connection-string:\n").error(), message);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let setup = Setup::new().file("skip-pages: true\n").variable("BATON_SKIP_PAGES", "");
    assert!(setup.settings().scope.skip_pages);
}

#[test]
fn rejects_a_variable_that_is_not_text() {
    let mut setup = Setup::new();
    setup.sources.environment.insert("BATON_LISTEN".into(), OsString::from_vec(vec![b'h', 0xff]));
    assert_eq!(
        setup.error(),
        "listen (variable BATON_LISTEN): the value is not valid UTF-8; accepted: host:port, such as \
         127.0.0.1:8080 or [::1]:8080, or unix:/path, such as unix:/run/retool.sock"
    );
}

#[test]
fn accepts_every_spelling_of_a_boolean() {
    let on = ["1", "t", "T", "true", "True", "TRUE"];
    let off = ["0", "f", "F", "false", "False", "FALSE"];
    for (words, expected) in [(on, true), (off, false)] {
        for word in words {
            let by_variable = Setup::new().variable("BATON_TICKETING", word);
            let by_flag = Setup::new().flags([&format!("--ticketing={word}")]);
            let by_file = Setup::new().file(format!("ticketing: {word}\n"));
            let by_quotes = Setup::new().file(format!("ticketing: \"{word}\"\n"));
            let with_line_end = Setup::new().variable("BATON_TICKETING", &format!(" {word}\n"));
            for setup in [by_variable, by_flag, by_file, by_quotes, with_line_end] {
                assert_eq!(setup.settings().options.ticketing, expected, "{word}");
            }
        }
    }
}

proptest! {
    #[test]
    fn rejects_any_other_word_as_a_boolean(word in "[a-zA-Z0-9 ]{2,6}") {
        const WORDS: [&str; 12] =
            ["true", "True", "TRUE", "t", "T", "1", "false", "False", "FALSE", "f", "F", "0"];
        prop_assume!(!WORDS.contains(&word.trim()));
        let error = Setup::new().variable("BATON_TICKETING", &word).error();
        let expected = format!("ticketing (variable BATON_TICKETING): {word:?} is neither true nor false; ");
        prop_assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn an_invalid_boolean_error_names_its_source() {
    let end =
        "is neither true nor false; accepted: true, True, TRUE, t, T, 1 or false, False, FALSE, f, F, 0";
    let by_flag = Setup::new().flags(["--skip-pages=banana"]).error();
    assert_eq!(by_flag, format!("skip-pages (flag --skip-pages): \"banana\" {end}"));
    let by_flag = Setup::new().flags(["--skip-pages="]).error();
    assert_eq!(by_flag, format!("skip-pages (flag --skip-pages): \"\" {end}"));
    let key = "skip-pages (key skip-pages of .baton.yaml):";
    for (value, shown) in
        [("yes", "\"yes\""), ("2", "2"), ("1.0", "a decimal number"), ("[true]", "a list of values")]
    {
        let by_file = Setup::new().file(format!("skip-pages: {value}\n")).error();
        assert_eq!(by_file, format!("{key} {shown} {end}"));
    }
}

#[test]
fn rejects_invalid_and_out_of_range_numbers() {
    let seconds = |value: &str| Setup::new().flags(["--statement-timeout-seconds", value]);
    assert_eq!(seconds("3600").settings().timeouts.statement, Duration::from_secs(3600));
    let start = "statement-timeout-seconds (flag --statement-timeout-seconds):";
    let end = "accepted: a whole number from 1 to 3600";
    for value in ["0", "3601", "-5", "99999999999999999999"] {
        assert_eq!(seconds(value).error(), format!("{start} {value} is out of range; {end}"));
    }
    assert_eq!(seconds("1m").error(), format!("{start} \"1m\" is not a whole number; {end}"));
    let by_file = Setup::new().file("connect-timeout-seconds: 301\n").error();
    let expected = "connect-timeout-seconds (key connect-timeout-seconds of .baton.yaml): 301 is out of range; \
                    accepted: a whole number from 1 to 300";
    assert_eq!(by_file, expected);
    let by_file = Setup::new().file("connect-timeout-seconds: true\n").error();
    assert!(by_file.contains("true is not text"), "{by_file}");
    assert_eq!(
        Setup::new().file("connect-timeout-seconds: 300\n").settings().timeouts.connect,
        Duration::from_secs(300)
    );
}

#[test]
fn debug_of_settings_and_sources_shows_no_secret() {
    let setup = Setup::new()
        .variable("BATON_RETOOL_API_TOKEN", "s3cret-token")
        .variable("BATON_RETOOL_API_BASE_URL", "https://retool.example.com");
    let shown = format!("{:?} {:#?} {:?}", setup.settings(), setup.settings(), setup.sources);
    assert!(shown.contains("retool.example.com") && shown.contains("BATON_RETOOL_API_TOKEN"));
    for secret in ["hunter2", "s3cret-token", "postgres://"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn names_are_unique_and_every_listed_keyword_is_accepted() {
    let names: BTreeSet<_> = ALL.iter().map(|setting| setting.name).collect();
    assert_eq!(names.len(), ALL.len());
    let shorts: Vec<_> = ALL.iter().filter_map(|setting| setting.short).collect();
    assert_eq!(shorts.iter().collect::<BTreeSet<_>>().len(), shorts.len());
    for setting in ALL {
        let is_refused = matches!(setting.status, SettingStatus::Refused(_));
        assert!(
            is_refused || !names::is_go_connector_key(setting.name),
            "{} has an effect here",
            setting.name
        );
        if let Kind::Choice(words) = setting.kind {
            for word in words {
                let setup = Setup::new().variable(&setting.variable(), &word.to_ascii_uppercase());
                assert_eq!(setup.warnings(), [""; 0], "{word}");
            }
        }
    }
}

#[test]
fn help_and_the_markdown_table_list_every_setting() {
    let table = markdown_table();
    let hidden: Vec<_> = ALL.iter().filter(|setting| setting.hidden).map(|setting| setting.name).collect();
    assert!(hidden.contains(&"health-check-bind-address") && !hidden.contains(&"connection-string"));
    let listed = ALL.iter().filter(|setting| is_listed(setting.name)).count();
    assert_eq!(table.lines().count(), listed + 2);
    let arguments = arguments();
    assert_eq!(arguments.len(), ALL.len());
    for (setting, argument) in ALL.iter().zip(&arguments) {
        let variable = setting.variable();
        assert_eq!(argument.get_long(), Some(setting.name));
        assert!(argument.is_global_set());
        let help = argument.get_help().unwrap().to_string();
        assert!(help.contains(&format!("[env: {variable}]")), "{help}");
        if let Fallback::Value(value) = setting.fallback {
            assert!(help.contains(&format!("[default: {value}]")), "{help}");
        }
        let row = table.lines().find(|row| row.contains(&format!("`--{}`", setting.name)));
        assert_eq!(row.is_some(), is_listed(setting.name), "{}", setting.name);
        let Some(row) = row else { continue };
        assert!(row.contains(&format!("| `{variable}` |")), "{row}");
        assert_eq!(row.contains("Secret"), setting.secret, "{row}");
        if let Fallback::Value(value) = setting.fallback {
            assert!(row.contains(&format!("| `{value}` |")), "{row}");
        }
    }
    let lasting = ALL.iter().filter(|setting| setting.group != Group::Change);
    let secrets: Vec<_> = lasting.filter(|setting| setting.secret).map(|setting| setting.name).collect();
    assert_eq!(secrets, ["connection-string", "retool-api-token", "client-secret"]);
}

#[test]
fn rows_of_the_markdown_table_have_the_expected_text() {
    let table = markdown_table();
    for row in [
        "| `-p`, `--provisioning` | `BATON_PROVISIONING` | `false` | Allow changes in Retool: grants, revocations, accounts and actions. |",
        "| `--statement-timeout-seconds` | `BATON_STATEMENT_TIMEOUT_SECONDS` | `60` | How long one SQL statement may run before the database cancels it. Accepts a whole number from 1 to 3600. |",
        "| `--retool-api-token` | `BATON_RETOOL_API_TOKEN` | none | API token for Retool's REST API; requires retool-api-base-url. Secret: never shown or logged. |",
    ] {
        assert!(table.lines().any(|line| line == row), "{table}");
    }
}

#[test]
fn a_hidden_setting_is_in_neither_help_nor_the_table() {
    let hidden = Setting { hidden: true, ..ALL[0] };
    assert!(reference::row(&ALL[0]).is_some());
    assert_eq!(reference::row(&hidden), None);
    assert!(arguments::argument(&hidden).is_hide_set());
    assert!(!arguments::argument(&ALL[0]).is_hide_set());
}

#[test]
fn clap_accepts_the_definition_of_the_flags() {
    Command::new("t").args(arguments()).subcommand(Command::new("serve")).debug_assert();
}
