//! Logging.

use super::*;

#[test]
fn the_log_format_depends_on_the_terminal() {
    let mut setup = Setup::new();
    setup.sources.stdout_is_terminal = true;
    assert_eq!(setup.settings().logs.format, LogFormat::Console);
    assert_eq!(setup.flags(["--log-format", "JSON"]).settings().logs.format, LogFormat::Json);
}

#[test]
fn warns_about_an_unknown_log_keyword_and_uses_the_default() {
    let setup = Setup::new().flags(["--log-level=loud"]).variable("BATON_LOG_FORMAT", "xml");
    let (settings, _) = setup.load().unwrap();
    assert_eq!((settings.logs.level, settings.logs.format), (LogLevel::Info, LogFormat::Json));
    assert_eq!(
        setup.warnings(),
        [
            "log-level (flag --log-level): \"loud\" is unknown, using info; accepted: debug, info, warn, \
             error, dpanic, panic, fatal",
            "log-format (variable BATON_LOG_FORMAT): \"xml\" is unknown, using json; accepted: json, console",
        ]
    );
}

fn file(path: &str) -> LogTarget {
    LogTarget::File(path.into())
}

#[test]
fn log_lines_can_have_several_targets() {
    let expected = [file("/var/log/a.log"), LogTarget::Stdout, file("b c.log"), LogTarget::Stderr];
    for flags in [
        &["--log-path=/var/log/a.log,stdout, b c.log ,,stderr,stdout"][..],
        &["--log-path", "/var/log/a.log", "--log-path", "stdout", "--log-path=b c.log,stderr"],
    ] {
        let mut setup = Setup::new();
        setup.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        assert_eq!(setup.settings().logs.paths, expected, "{flags:?}");
    }
    let variable = Setup::new().variable("BATON_LOG_PATH", "/var/log/a.log,stdout,b c.log,stderr\n");
    assert_eq!(variable.settings().logs.paths, expected);
    let text = Setup::new().file("log-path: /var/log/a.log, stdout, b c.log, stderr\n");
    assert_eq!(text.settings().logs.paths, expected);
    let list = Setup::new().file("log-path:\n  - /var/log/a.log\n  - stdout\n  - b c.log\n  -\n  - stderr\n");
    assert_eq!(list.settings().logs.paths, expected);
}

#[test]
fn an_item_of_a_list_keeps_its_commas() {
    let setup = Setup::new().file("log-path: ['a,b.log']\n");
    assert_eq!(setup.settings().logs.paths, [file("a,b.log")]);
}

#[test]
fn without_a_target_lines_go_to_standard_error() {
    for setup in [
        Setup::new().flags(["--log-path="]).file("log-path: a.log\n"),
        Setup::new().flags(["--log-path", " , "]),
        Setup::new().file("log-path: []\n"),
        Setup::new().file("log-path:\n"),
    ] {
        assert_eq!(setup.settings().logs.paths, [LogTarget::Stderr]);
    }
}

#[test]
fn the_targets_of_a_source_with_precedence_replace_all_others() {
    let setup = Setup::new().file("log-path: [a.log, b.log]\n").variable("BATON_LOG_PATH", "c.log");
    assert_eq!(setup.settings().logs.paths, [file("c.log")]);
    let setup = setup.flags(["--log-path=a.log", "serve", "--log-path=d.log", "--log-path=e.log"]);
    assert_eq!(setup.settings().logs.paths, [file("d.log"), file("e.log")]);
    let setup = Setup::new().flags(["--log-path=a.log", "--log-path=b.log", "serve"]);
    assert_eq!(setup.settings().logs.paths, [file("a.log"), file("b.log")]);
}

#[test]
fn rejects_a_log_target_that_is_not_text() {
    let start = "log-path (key log-path of .baton.yaml):";
    let end =
        "accepted: stderr, stdout and paths of files, separated by commas or, in a config file, as a list";
    for (value, problem) in [
        ("[a.log, 7]", "7 in the list is not text"),
        ("[[a.log]]", "a list of values in the list is not text"),
        ("true", "true is not text"),
        ("{a: b}", "a table of values is not text"),
    ] {
        let error = Setup::new().file(format!("log-path: {value}\n")).error();
        assert_eq!(error, format!("{start} {problem}; {end}"));
    }
}
