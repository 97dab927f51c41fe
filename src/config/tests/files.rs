//! The config file and misspelled names.

use super::*;

#[test]
fn the_default_file_may_be_missing_but_a_named_file_may_not() {
    assert_eq!(port(&Setup::new().settings()), 8080);
    let error = Setup::new().variable("BATON_CONFIG_PATH", "gone.yaml").error();
    assert!(error.starts_with("config file gone.yaml: cannot be read: No such file"), "{error}");
}

#[test]
fn reads_exactly_the_named_file() {
    let setup = || Setup::new().file("listen: h:1\n").file_called("x.yaml", "listen: h:2\n");
    let yml = setup().variable("BATON_CONFIG_PATH", "x.yml");
    assert!(yml.error().starts_with("config file x.yml: cannot be read"));
    assert_eq!(port(&yml.file_called("x.yml", "listen: h:3\n").settings()), 3);
    let toml = setup().file_called("x.TOML", "listen = 'h:4'\nskip-pages = true\n");
    let settings = toml.variable("BATON_CONFIG_PATH", "x.TOML").settings();
    assert_eq!((port(&settings), settings.scope.skip_pages), (4, true));
    assert_eq!(port(&setup().variable("BATON_CONFIG_PATH", "").settings()), 1);
}

#[test]
fn rejects_a_file_name_without_a_known_extension() {
    const WITHHELD: &str = "[path withheld, it may be a secret]";
    for (name, shown) in [("baton.json", "baton.json"), ("yaml", WITHHELD), ("dir.yaml/file", WITHHELD)] {
        let expected = format!(
            "variable BATON_CONFIG_PATH: cannot detect the format of {shown}; accepted: a name ending in \
             .yaml, .yml or .toml"
        );
        assert_eq!(Setup::new().variable("BATON_CONFIG_PATH", name).error(), expected);
    }
}

#[test]
fn an_unreadable_default_file_is_an_error() {
    let setup = Setup::new();
    std::fs::create_dir(setup.directory.path().join(".baton.yaml")).unwrap();
    assert!(setup.error().starts_with("config file .baton.yaml: cannot be read: "), "{}", setup.error());
}

#[test]
fn a_syntax_error_names_file_and_line_without_quoting() {
    let toml = |text: &str| Setup::new().file_called("c.toml", text).variable("BATON_CONFIG_PATH", "c.toml");
    for (setup, place) in [
        (
            Setup::new().file("skip-pages: true\nlisten: [h\nretool-api-token: hunter2\n"),
            ".baton.yaml, line 3",
        ),
        (Setup::new().file("a: 1\nretool-api-token: 'hunter2\n"), ".baton.yaml, line 2"),
        (Setup::new().file("a: b\nretool-api-token: hunter2: x\n"), ".baton.yaml, line 2"),
        (Setup::new().file("hunter2: 1\nhunter2: 2\n"), ".baton.yaml, line 2"),
        (Setup::new().file(b"a: b\nretool-api-token: hunter2\xff\n"), ".baton.yaml, line 2"),
        (toml("\n\nretool-api-token = \"hunter2\n"), "c.toml, line 3"),
        (toml("listen = 'a:1'\nretool-api-token = hunter2\n"), "c.toml, line 2"),
        (toml("retool-api-token = 'hunter2'\nretool-api-token = 'hunter2'\n"), "c.toml, line 2"),
    ] {
        let error = setup.error();
        assert!(error.starts_with(&format!("config file {place}: ")), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert!(!error.contains("is not a list of settings"), "the reason is known: {error}");
    }
}

#[test]
fn a_file_that_is_not_a_list_of_settings_is_not_quoted() {
    for text in [
        "connection-string:hunter2\n",
        "- hunter2\n",
        "connection-string: {{ hunter2 }}\n",
        "a: 1\n---\nb: 2\n",
    ] {
        let error = Setup::new().file(text).error();
        assert!(error.starts_with("config file .baton.yaml: this is not a list of settings"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn accepts_an_empty_file_and_a_byte_order_mark() {
    assert_eq!(port(&Setup::new().file("").settings()), 8080);
    assert_eq!(port(&Setup::new().file("# nothing yet\n").settings()), 8080);
    assert_eq!(port(&Setup::new().file("\u{feff}listen: h:5\n").settings()), 5);
}

#[test]
fn keys_are_case_insensitive_and_must_be_unique() {
    assert!(Setup::new().file("Skip-Pages: true\n").settings().scope.skip_pages);
    let twice = Setup::new().file("Skip-Pages: true\nskip-pages: false\n").error();
    assert_eq!(twice, "config file .baton.yaml: the key skip-pages is set twice");
}

#[test]
fn warns_about_an_unknown_key_with_the_nearest_name() {
    let text = "skip_pages: true\nretool_api_base_url: x\n";
    let setup = Setup::new().file(text);
    assert!(!setup.load().unwrap().0.scope.skip_pages);
    assert_eq!(
        setup.warnings(),
        [
            "config file .baton.yaml: unknown key retool_api_base_url is ignored; did you mean retool-api-base-url?",
            "config file .baton.yaml: unknown key skip_pages is ignored; did you mean skip-pages?",
        ]
    );
}

#[test]
fn an_unknown_key_that_may_be_a_secret_is_not_repeated() {
    for key in ["retool_01kxhunter2abcdefghijklmnop", "correct-horse-hunter2", "'postgres://u:hunter2@h'"] {
        let warnings = Setup::new().file(format!("{key}: 1\n")).warnings();
        let expected = "config file .baton.yaml: an unknown key is ignored; the key is withheld, because it is \
                        not close to any name and may be a secret";
        assert_eq!(warnings, [expected]);
    }
}

#[test]
fn keys_of_the_go_connector_cause_no_warning() {
    let text = "file: sync.c1z\nclient-id: a\nWorkers: 3\ninvoke-resource-action-args: '{}'\n";
    assert_eq!(Setup::new().file(text).warnings(), [""; 0]);
}

#[test]
fn warns_about_a_misspelled_variable() {
    let setup = Setup::new()
        .variable("BATON_SKIP_PAGE", "1")
        .variable("BATON_CONFIG_PAHT", "x")
        .variable("BATON_WORKERS", "3")
        .variable("BATON_CONNECTOR_SERVICE_LISTENER_FD", "3")
        .variable("BATON_SOMETHING_ELSE", "3")
        .variable("XATON_LISTEN", "h:1");
    assert_eq!(
        setup.warnings(),
        [
            "unknown variable BATON_CONFIG_PAHT is ignored; did you mean BATON_CONFIG_PATH?",
            "unknown variable BATON_SKIP_PAGE is ignored; did you mean BATON_SKIP_PAGES?",
            "unknown variable BATON_SOMETHING_ELSE has no effect",
        ]
    );
}

#[test]
fn a_misspelled_variable_has_a_suggestion() {
    for (name, nearest) in [
        ("BATON_PROVISION", "BATON_PROVISIONING"),
        ("BATON_RETOOL_TOKEN", "BATON_RETOOL_API_TOKEN"),
        ("BATON_API_TOKEN", "BATON_RETOOL_API_TOKEN"),
        ("BATON_GET_TASK", "BATON_GET_TASKS"),
        ("BATON_HOSTID", "BATON_HOST_ID"),
        ("BATON_C1_API_HOSTS", "BATON_C1_API_HOST"),
        ("BATON_TMPDIRS", "BATON_TMPDIR"),
        ("BATON_SYNC_TYPES", "BATON_SYNC_RESOURCE_TYPES"),
        ("BATON_RETOOL_CONNECTION_STRING", "BATON_CONNECTION_STRING"),
        ("BATON_HEALTHCHECK_PORT", "BATON_HEALTH_CHECK_PORT"),
    ] {
        let expected = format!("unknown variable {name} is ignored; did you mean {nearest}?");
        assert_eq!(Setup::new().variable(name, "x").warnings(), [expected]);
    }
    assert_eq!(
        Setup::new().variable("BATON_TOTALLY_OTHER", "1").warnings(),
        ["unknown variable BATON_TOTALLY_OTHER has no effect"]
    );
}

#[test]
fn variables_that_are_known_elsewhere_cause_no_warning() {
    let mut setup = Setup::new();
    for name in [
        "BATON_HOST_ID",
        "BATON_C1_API_HOST",
        "BATON_GET_TASKS",
        "BATON_TMPDIR",
        "BATON_CONFIG_PATH",
        "BATON_DECODER_MAX_DECODED_SIZE_MB",
        "BATON_DONT_FIX_CYCLES",
        "BATON_LAMBDA_CLIENT_ID",
        "BATON_INVOKE_RESOURCE_ACTION_ARGS",
    ] {
        setup = setup.variable(name, "");
    }
    // Kubernetes sets these for a Service baton-retool with a port that is named grpc.
    for (name, value) in [
        ("BATON_RETOOL_SERVICE_HOST", "10.0.0.1"),
        ("BATON_RETOOL_SERVICE_PORT", "8080"),
        ("BATON_RETOOL_SERVICE_PORT_GRPC", "8080"),
        ("BATON_RETOOL_PORT", "tcp://10.0.0.1:8080"),
        ("BATON_RETOOL_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("BATON_RETOOL_PORT_8080_TCP_PROTO", "tcp"),
        ("BATON_RETOOL_PORT_8080_TCP_PORT", "8080"),
        ("BATON_RETOOL_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ] {
        setup = setup.variable(name, value);
    }
    assert_eq!(setup.warnings(), [""; 0]);
    let other = Setup::new().variable("BATON_RETOOL_PORT", "8080").warnings();
    assert_eq!(other, ["unknown variable BATON_RETOOL_PORT has no effect"]);
}
