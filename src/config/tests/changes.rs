//! Settings that request one change, and settings of the Go connector that do not apply.

use crate::agent::one_shot::OneShot;
use crate::config::one_shot_table::VERBS;
use crate::config::setting::SettingStatus;

use super::*;

fn change(setup: &Setup) -> Result<Option<OneShot>, Error> {
    load_change(&setup.matches(), &setup.sources)
}

fn asked<const N: usize>(flags: [&str; N]) -> OneShot {
    change(&Setup::bare().flags(flags)).unwrap().unwrap()
}

fn refused<const N: usize>(flags: [&str; N]) -> String {
    change(&Setup::bare().flags(flags)).unwrap_err().to_string()
}

#[test]
fn without_a_change_setting_there_is_no_change() {
    assert_eq!(change(&Setup::bare()).unwrap(), None);
    assert_eq!(change(&Setup::bare().flags(["--event-feed=false", "-p"])).unwrap(), None);
    assert_eq!(change(&Setup::bare().variable("BATON_LIST_ACTION_SCHEMAS", "0")).unwrap(), None);
}

#[test]
fn every_source_can_request_a_change() {
    let expected = OneShot::Grant {
        entitlement: "group:g7:member".to_owned(),
        principal: "u5".to_owned(),
        principal_type: "user".to_owned(),
    };
    let flags =
        ["--grant-entitlement=group:g7:member", "--grant-principal", "u5", "--grant-principal-type", "user"];
    assert_eq!(asked(flags), expected);
    let setup = Setup::bare()
        .variable("BATON_GRANT_ENTITLEMENT", "group:g7:member")
        .variable("BATON_GRANT_PRINCIPAL", "u5")
        .file("grant-principal-type: user\n");
    assert_eq!(change(&setup).unwrap().unwrap(), expected);
}

#[test]
fn each_change_setting_gives_its_own_operation() {
    let operations = [
        (asked(["--revoke-grant=g"]), "revoke"),
        (asked(["--create-account-login=a"]), "create_account"),
        (asked(["--create-account-email=a@b.c", "--create-account-profile={}"]), "create_account"),
        (asked(["--invoke-action=a", "--invoke-action-args={}"]), "invoke_action"),
        (asked(["--list-action-schemas", "--list-action-schemas-resource-type=user"]), "list_action_schemas"),
        (asked(["--delete-resource=u1", "--delete-resource-type=user"]), "delete_resource"),
        (asked(["--rotate-credentials=u1", "--rotate-credentials-type=user"]), "rotate_credentials"),
        (asked(["--event-feed", "true", "--event-feed-id=a"]), "event_feed"),
        (asked(["--list-ticket-schemas"]), "list_ticket_schemas"),
        (asked(["--create-ticket", "--ticket-template-path=a"]), "create_ticket"),
        (asked(["--bulk-create-ticket", "--bulk-ticket-template-path=a"]), "bulk_create_ticket"),
        (asked(["--get-ticket", "--ticket-id=a"]), "get_ticket"),
    ];
    for (asked, operation) in operations {
        assert_eq!(asked.operation(), operation);
        // Some of them contain personal data.
        assert_eq!(format!("{asked:?}"), operation);
    }
}

#[test]
fn rejects_invalid_combinations_of_change_settings() {
    for (error, words) in [
        (refused(["--grant-entitlement=e"]), "grant-principal"),
        (refused(["--grant-entitlement=e", "--grant-principal=u5"]), "grant-principal-type"),
        (refused(["--grant-principal=u5", "--grant-principal-type=user"]), "grant-entitlement"),
        (refused(["--delete-resource-type=user"]), "delete-resource"),
        (refused(["--delete-resource=u5"]), "delete-resource-type"),
        (refused(["--rotate-credentials=u5"]), "rotate-credentials-type"),
        (refused(["--ticket-id=a"]), "get-ticket"),
        (refused(["--get-ticket"]), "ticket-id"),
        (refused(["--revoke-grant=g", "--list-action-schemas"]), "mutually exclusive"),
        (refused(["--invoke-action=a", "--create-account-email=a@b.c"]), "mutually exclusive"),
        (refused(["--event-feed", "--event-feed-start-at=yesterday"]), "2026-01-31T12:00:00Z"),
        (refused(["--event-feed=banana"]), "true"),
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    for value in ["hunter2", "[1]", "{\"hunter2\": "] {
        let error = refused(["--create-account-email=a@b.c", &format!("--create-account-profile={value}")]);
        assert!(error.contains("JSON object") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn an_empty_change_flag_is_an_error() {
    for name in VERBS.iter().flat_map(|verb| verb.iter()) {
        let setting = ALL.iter().find(|setting| setting.name == *name).unwrap();
        for value in ["", " "] {
            let error = refused([&format!("--{name}={value}")]);
            let expected = match setting.kind {
                Kind::Switch => format!("{name} (flag --{name}): {value:?} is neither true nor false"),
                _ => format!("{name} (flag --{name}): the value is empty"),
            };
            assert!(error.starts_with(&expected), "{error}");
        }
        // Deployments contain variables without a value.
        if setting.kind != Kind::Switch {
            assert_eq!(change(&Setup::bare().variable(&setting.variable(), "")).unwrap(), None);
        }
    }
    let beside = ["--create-account-email=ada@example.com", "--create-account-profile="];
    assert!(refused(beside).starts_with("create-account-profile (flag"));
    let name = change_asked_for(&Setup::bare().flags(["--revoke-grant="]).matches(), &Sources::default());
    assert_eq!(name.unwrap(), Some("revoke-grant"), "service mode warns about it");
}

#[test]
fn the_address_of_an_account_must_be_that_of_its_profile() {
    let both = |email: &str, profile: &str| {
        let flags =
            [format!("--create-account-email={email}"), format!("--create-account-profile={profile}")];
        change(&Setup::bare().flags([&flags[0], &flags[1]])).map(drop).map_err(|error| error.to_string())
    };
    for profile in [r#"{"email": "x@b.c"}"#, r#"{"email": ""}"#, r#"{"email": null}"#, r#"{"email": 1}"#] {
        let error = both("ada@b.c", profile).unwrap_err();
        let expected = "create-account-email (flag --create-account-email) differs from email in create-account-profile: ";
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("b.c"), "{error}");
    }
    for profile in [r#"{"email": "ada@b.c"}"#, r#"{"email": "Ada@B.C "}"#, "{}", r#"{"first_name": "Ada"}"#] {
        assert_eq!(both("ada@b.c", profile), Ok(()), "{profile}");
    }
}

#[test]
fn settings_that_do_not_apply_are_refused_with_the_reason() {
    let of_the_past: Vec<_> =
        ALL.iter().filter(|setting| matches!(setting.status, SettingStatus::Refused(_))).collect();
    assert!(of_the_past.len() > 10);
    for setting in of_the_past {
        for flag in [format!("--{}", setting.name), format!("--{}=x", setting.name)] {
            let error = refused([&flag]);
            assert!(error.contains("does not apply") && error.lines().count() == 1, "{error}");
        }
        assert!(setting.hidden, "{}", setting.name);
    }
}

#[test]
fn warns_about_idle_and_deprecated_settings() {
    let warnings = Setup::new().flags(["--auth-method=x", "--parallel-sync"]).warnings();
    assert_eq!(
        warnings,
        [
            "auth-method (flag --auth-method) has no effect: the connector authenticates only to Retool's database, with connection-string",
            "parallel-sync (flag --parallel-sync) is deprecated: use workers",
        ]
    );
    // Deployments contain idle settings.
    let setup = Setup::new().variable("BATON_AUTH_METHOD", "x").file("session-store-maximum-size: 1\n");
    assert_eq!(setup.warnings(), [""; 0]);
    let setup = Setup::new().variable("BATON_PARALLEL_SYNC", "true");
    assert_eq!(setup.warnings(), ["parallel-sync (variable BATON_PARALLEL_SYNC) is deprecated: use workers"]);
    assert_eq!(Setup::new().flags(["--parallel-sync=false"]).warnings(), [""; 0]);
}

#[test]
fn debug_logs_expire_at_the_given_time() {
    let level = |expires: &str| {
        let setup = Setup::new().flags(["--log-level=debug", "--log-level-debug-expires-at", expires]);
        setup.settings().logs.level
    };
    assert_eq!(level("2001-01-01T00:00:00Z"), LogLevel::Info);
    assert_eq!(level("2999-01-01T00:00:00+02:00"), LogLevel::Debug);
    assert_eq!(level(""), LogLevel::Debug);
    let error = Setup::new().flags(["--log-level-debug-expires-at=tomorrow"]).error();
    assert!(
        error.contains("log-level-debug-expires-at") && error.contains("2026-01-31T12:00:00Z"),
        "{error}"
    );
    let quiet = Setup::new().flags(["--log-level=warn", "--log-level-debug-expires-at=2001-01-01T00:00:00Z"]);
    assert_eq!(quiet.settings().logs.level, LogLevel::Warn);
}

#[test]
fn reports_all_errors_at_once() {
    let setup = Setup::bare()
        .variable("BATON_CONNECTION_STRNG", DSN)
        .flags(["--listen=8080", "--statement-timeout-seconds=0", "--tls-key=k.pem"])
        .file("skip-pages: banana\nretool_api_token: x\n");
    let error = setup.error();
    let lines: Vec<_> = error.lines().collect();
    let expected = [
        "unknown variable BATON_CONNECTION_STRNG is ignored; did you mean BATON_CONNECTION_STRING?",
        "config file .baton.yaml: unknown key retool_api_token is ignored; did you mean retool-api-token?",
        "connection-string is required",
        "skip-pages (key skip-pages of .baton.yaml)",
        "statement-timeout-seconds (flag",
        "tls-key (flag --tls-key) requires tls-cert",
        "listen (flag --listen)",
    ];
    assert_eq!(lines.len(), expected.len(), "{error}");
    for words in expected {
        assert!(lines.iter().any(|line| line.starts_with(words)), "no {words:?} in: {error}");
    }
    // The explanations come first.
    assert!(lines[0].contains("did you mean") && lines[1].contains("did you mean"), "{error}");
}

#[test]
fn misspelled_names_are_not_listed_if_no_setting_is_missing() {
    let error = Setup::new().variable("BATON_SKIP_PAGE", "1").flags(["--listen=8080"]).error();
    assert!(!error.contains("did you mean"), "{error}");
}
