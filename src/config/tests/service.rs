use super::*;

fn service(setup: &Setup) -> Result<Option<ServiceSettings>, Error> {
    load_service(&setup.matches(), &setup.sources)
}

#[test]
fn service_mode_requires_a_client() {
    assert!(service(&Setup::bare()).unwrap().is_none());
    assert!(service(&Setup::bare().variable("BATON_CLIENT_ID", "")).unwrap().is_none());
    assert!(service(&Setup::bare().variable("BATON_HOST_ID", "h")).unwrap().is_none());
}

#[test]
fn service_settings_can_come_from_every_source() {
    let setup = Setup::bare()
        .flags(["--client-id", "name@acme.example.com/pcc"])
        .variable("BATON_CLIENT_SECRET", "a:b:v1:c")
        .variable("BATON_HOST_ID", "")
        .variable("BATON_GET_TASKS", "T")
        .variable("BATON_C1_API_HOST", "api.example.com:444")
        .file("task-concurrency: 9\nhttp-timeout-seconds: 300\n");
    let settings = service(&setup).unwrap().unwrap();
    assert_eq!(settings.client_id, "name@acme.example.com/pcc");
    assert_eq!(settings.client_secret.expose_secret(), "a:b:v1:c");
    assert_eq!((settings.task_concurrency, settings.timeout), (9, Duration::from_secs(30)));
    let overrides = Overrides {
        api_host: Some("api.example.com:444".to_owned()),
        host_id: Some(String::new()),
        batch: true,
    };
    assert_eq!(settings.overrides, overrides);
    assert!(!format!("{settings:?}").contains("v1:c"));
}

#[test]
fn rejects_an_incomplete_client_and_invalid_task_concurrency() {
    fn error<const N: usize>(flags: [&str; N]) -> String {
        service(&Setup::bare().flags(flags)).unwrap_err().to_string()
    }
    assert!(error(["--client-id=a"]).contains("client-secret"));
    assert!(error(["--client-secret=a"]).contains("client-id"));
    let both = ["--client-id=a", "--client-secret=b"];
    assert_eq!(service(&Setup::bare().flags(both)).unwrap().unwrap().task_concurrency, 3);
    for wrong in ["0", "101", "-1", "many"] {
        assert!(
            error(["--client-id=a", "--client-secret=b", "--task-concurrency", wrong])
                .contains("a whole number from 1 to 100"),
            "{wrong}"
        );
    }
    // A server that does not use these settings also starts with only one of them.
    assert_eq!(Setup::new().flags(["--client-id=a"]).warnings(), [""; 0]);
}

#[test]
fn a_program_without_a_client_checks_the_values_of_service_settings() {
    let unused = |setup: &Setup| check_unused(&setup.matches(), &setup.sources);
    for wrong in ["0", "101", "-1", "x"] {
        let error = unused(&Setup::bare().flags(["--task-concurrency", wrong])).unwrap_err().to_string();
        assert!(error.contains("a whole number from 1 to 100"), "{error}");
    }
    assert_eq!(unused(&Setup::bare().flags(["--client-id=a"])), Ok(()), "none is required");
}

#[test]
fn the_settings_of_a_run_without_a_command_are_checked_together() {
    let setup = Setup::new()
        .flags(["--workers=x", "--sync-resources=junk"])
        .variable("BATON_EVENT_FEED", "banana")
        .variable("BATON_TASK_CONCURRENCY", "x");
    let (_, _, in_force) = load_in_force(&setup.matches(), &setup.sources).unwrap();
    let without_command = check_without_command(&setup.matches(), &setup.sources).unwrap_err();
    for error in [in_force.unwrap().to_string(), without_command.to_string()] {
        assert_eq!(error.lines().count(), 4, "{error}");
        for words in ["workers (flag", "sync-resources (flag", "event-feed (variable", "task-concurrency (v"]
        {
            assert!(error.lines().any(|line| line.starts_with(words)), "no {words}: {error}");
        }
    }
    let setup = Setup::new().variable("BATON_GRANT_PRINCIPAL", "u5");
    let error = check_without_command(&setup.matches(), &setup.sources).unwrap_err().to_string();
    assert!(error.contains("requires grant-principal-type"), "{error}");
    assert_eq!(check_without_command(&Setup::new().matches(), &Setup::new().sources), Ok(()));
}
