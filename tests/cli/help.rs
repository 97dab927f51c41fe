//! Help texts and command line errors.

use std::process::{Command, Output, Stdio};

use crate::support::server::program;
use crate::support::skipped::skipped;

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    // The width of a terminal.
    program()
        .args(arguments)
        .env("COLUMNS", "110")
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn help(arguments: &[&str]) -> String {
    let output = run(arguments, &[]);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn errors(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(arguments, variables);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// The flags in a help text.
fn flags(text: &str) -> Vec<&str> {
    let named = text.lines().filter_map(|line| {
        let line = line.trim_start();
        let flag = line.strip_prefix("-p, ").or(line.strip_prefix("-f, ")).unwrap_or(line);
        flag.strip_prefix("--")
    });
    named.map(|flag| flag.split([' ', '[', '=']).next().unwrap()).collect()
}

#[test]
fn help_texts_match_their_snapshots() {
    insta::assert_snapshot!("help_short", help(&["-h"]));
    insta::assert_snapshot!("help_long", help(&["--help"]));
    insta::assert_snapshot!("help_sync", help(&["sync", "-h"]));
    insta::assert_snapshot!("help_serve", help(&["serve", "-h"]));
    insta::assert_snapshot!("help_show_grants", help(&["show", "grants", "-h"]));
    insta::assert_snapshot!("help_doctor", help(&["doctor", "-h"]));
    insta::assert_snapshot!("help_settings", help(&["settings", "-h"]));
    insta::assert_snapshot!("help_health_check", help(&["health-check", "-h"]));
    insta::assert_snapshot!("help_capabilities", help(&["capabilities", "-h"]));
    insta::assert_snapshot!("help_completion", help(&["completion", "-h"]));
}

#[test]
fn help_shows_the_main_settings_and_help_all_every_setting() {
    let (usual, everything) = (help(&["--help"]), help(&["--help-all"]));
    let (usual, everything) = (flags(&usual), flags(&everything));
    let settings: Vec<_> = usual.iter().filter(|flag| !["help-all", "output"].contains(flag)).collect();
    assert_eq!(settings.len(), 10, "{settings:?}");
    assert!(usual.iter().all(|flag| everything.contains(flag)), "{usual:?} {everything:?}");
    for flag in ["max-streams", "grant-entitlement", "otel-tracing-disabled", "log-level-debug-expires-at"] {
        let hidden = flag == "log-level-debug-expires-at";
        assert!(!usual.contains(&flag) && everything.contains(&flag) != hidden, "{flag}");
    }
}

#[test]
fn the_help_of_every_command_has_examples() {
    let commands =
        "sync serve doctor settings health-check setup-sql capabilities config completion man version demo";
    let commands = commands.split(' ').map(|command| vec![command]);
    let listings = ["resources", "entitlements", "grants", "access"].map(|listing| vec!["show", listing]);
    for command in commands.chain(listings).chain([vec![], vec!["show"]]) {
        let text = help(&[&command[..], &["--help"]].concat());
        let (_, examples) = text.split_once("Examples:\n").unwrap_or_else(|| panic!("{command:?}: {text}"));
        let call = [&["baton-retool"], &command[..]].concat().join(" ");
        assert!(examples.contains(&call), "{command:?}: {examples}");
    }
}

#[test]
fn each_command_shows_only_its_own_options() {
    for (command, its, not_its) in [
        (&["sync"][..], "sync-resources", "listen"),
        (&["serve"], "listen", "file"),
        (&["show", "grants"], "principal", "connection-string"),
        (&["health-check"], "endpoint", "connection-string"),
        (&["capabilities"], "skip-pages", "connection-string"),
        (&["config"], "help-all", "connection-string"),
        (&["completion"], "no-descriptions", "log-level"),
        (&["doctor"], "strict", "workers"),
        (&["setup-sql"], "role", "connection-string"),
    ] {
        for flag in ["-h", "--help", "--help-all"] {
            let text = help(&[command, &[flag]].concat());
            let shown = flags(&text);
            assert!(shown.contains(&its), "{command:?} {flag}: no {its} in {shown:?}");
            assert!(!shown.contains(&not_its), "{command:?} {flag}: {not_its} in {shown:?}");
        }
    }
}

#[test]
fn a_misspelled_flag_error_suggests_the_right_one_and_the_help_command() {
    let unknown = errors(&["sync", "--sync-resource-type=user"], &[]);
    assert!(unknown.contains("'--sync-resource-types'"), "{unknown}");
    assert!(unknown.contains("try 'baton-retool sync --help'"), "{unknown}");
    let unknown = errors(&["shwo"], &[]);
    assert!(unknown.contains("'show'") && unknown.contains("try 'baton-retool --help'"), "{unknown}");
    let unknown = errors(&["_connector-servce"], &[]);
    assert!(!unknown.contains("_connector-service"), "agents start this command: {unknown}");
    for secret in ["correct-horse-battery", "hunter", "postgres://u:horse@h"] {
        let unknown = errors(&[secret], &[]);
        assert!(!unknown.contains(secret) && !unknown.contains("horse"), "{unknown}");
        let unknown = errors(&["sync", secret], &[]);
        assert!(!unknown.contains(secret) && !unknown.contains("horse"), "{unknown}");
    }
    let unknown = errors(&["-V"], &[]);
    assert!(unknown.contains("unexpected argument '-V'"), "{unknown}");
    let unknown = errors(&["show", "grnts"], &[]);
    assert!(unknown.contains("'grants'") && unknown.contains("try 'baton-retool show --help'"), "{unknown}");
    let console = [("BATON_LOG_FORMAT", "console")];
    let wrong = errors(&["serve", "--connection-string=host=h dbname=d", "--listen=8080"], &console);
    assert!(wrong.trim_end().ends_with("; see `baton-retool serve --help`"), "{wrong}");
}

#[test]
fn a_misspelled_variable_is_reported_before_the_missing_setting() {
    let variables = [("BATON_CONNECTION_STRNG", "host=db password=hunter2"), ("BATON_LOG_FORMAT", "console")];
    let output = errors(&["sync"], &variables);
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert!(lines[0].contains("did you mean BATON_CONNECTION_STRING?"), "{output}");
    assert!(lines[1].contains("connection-string is required"), "{output}");
    assert!(!output.contains("hunter2"), "{output}");
}

#[test]
fn colors_are_printed_only_on_terminals_or_on_request() {
    let piped = run(&["--no-such-flag"], &[]);
    assert!(!piped.stderr.contains(&0x1b));
    let forced = run(&["--no-such-flag"], &[("CLICOLOR_FORCE", "1")]);
    assert!(forced.stderr.contains(&0x1b), "{}", String::from_utf8_lossy(&forced.stderr));
    let refused = run(&["--no-such-flag"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]);
    assert!(!refused.stderr.contains(&0x1b));
    for variables in [&[][..], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]] {
        assert!(!run(&["--help"], variables).stdout.contains(&0x1b));
    }
}

#[test]
fn the_version_names_commit_target_and_protocol() {
    let first = format!("baton-retool version {}", env!("CARGO_PKG_VERSION"));
    let (short, long) = (help(&["-v"]), help(&["--version"]));
    assert_eq!(short, format!("{first}\n"));
    let lines: Vec<_> = long.lines().collect();
    assert_eq!(lines[0], first);
    let names: Vec<_> = lines[1..].iter().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(names, ["commit", "target", "protocol"]);
    assert!(
        lines[2].contains(std::env::consts::ARCH) && lines[3].starts_with("protocol: baton-sdk v"),
        "{long}"
    );
    assert_eq!(help(&["version"]), long);
    let machine: serde_json::Value = serde_json::from_str(&help(&["version", "--output", "json"])).unwrap();
    assert_eq!(machine["version"], env!("CARGO_PKG_VERSION"));
    assert!(lines[3].ends_with(machine["protocol"].as_str().unwrap()), "{machine}");
}

/// Needs the repository, which is missing in an archive of the source.
#[test]
fn an_archive_of_the_source_names_its_commit() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
    };
    let is_checked_out = git(&["cat-file", "-e", "HEAD:packaging/commit"]).is_some();
    let (Some(head), true) = (git(&["rev-parse", "HEAD"]), is_checked_out) else {
        skipped("there is no repository for the archive of the source");
        return;
    };
    let archive = git(&["archive", "--format=tar", "HEAD", "packaging/commit"]).unwrap();
    let head = String::from_utf8(head).unwrap();
    assert!(archive.windows(head.len()).any(|part| part == head.as_bytes()), "no {head} in the archive");
}

#[test]
fn settings_are_shown_with_their_source_and_without_secrets() {
    let variables = [("BATON_CONNECTION_STRING", "host=db dbname=d password=hunter2")];
    let output = run(&["settings", "--given", "--listen=127.0.0.1:9"], &variables);
    assert_eq!(output.status.code(), Some(0));
    let table = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<_>> = table
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(
        rows,
        [
            ["setting", "value", "from"],
            ["connection-string", "(secret)", "variable BATON_CONNECTION_STRING"],
            ["listen", "127.0.0.1:9", "flag --listen"],
        ]
    );
    let wrong = run(&["settings", "--listen=8080", "--skip-pages=banana"], &[]);
    let errors = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{errors}");
    assert_eq!(errors.lines().count(), 3, "{errors}");
    assert!(String::from_utf8(wrong.stdout).unwrap().contains("statement-timeout-seconds"));
}
