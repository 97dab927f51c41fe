//! The script for a connector that skips resource types: it grants nothing on them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::script::{FEW, granted, run, script, set_up};
use crate::support::postgres::{Database, Role};

#[tokio::test]
async fn skipped_resource_types_are_neither_granted_nor_needed() {
    let database = Database::seeded(FEW).await;
    let of_pages = ["pages", "group_pages", "group_folder_defaults", "folders"];
    let of_resources = ["resources", "group_resources", "group_resource_folder_defaults", "resource_folders"];
    let tables = async |role: &Role| -> BTreeSet<String> {
        let granted = granted(&database, role).await;
        granted.iter().filter_map(|privilege| Some(privilege.rsplit_once(" ON ")?.1.to_owned())).collect()
    };
    for (flags, absent) in [
        (&["--skip-pages"][..], [&of_pages[..], &["resource_folders"]].concat()),
        (&["--skip-resources"], [&of_resources[..], &["folders"]].concat()),
        (&["--skip-pages", "--skip-resources=true"], [of_pages, of_resources].concat()),
    ] {
        let role = set_up(&database, &[flags, &["--extras", "--provisioning=groups"]].concat()).await;
        let tables = tables(&role).await;
        assert!(absent.iter().all(|table| !tables.contains(*table)), "{flags:?}: {tables:?}");
        assert!(tables.contains("user_groups") && tables.contains("audit_trail_events"), "{tables:?}");
        let url = database.url_as(&role);
        // Only --skip-pages disables changes of groups' access to apps.
        let changing = if flags.contains(&"--skip-pages") { &["--provisioning"][..] } else { &[] };
        let doctor = ["doctor", "--connection-string", &url, "--output", "json"];
        let output = run(&[&doctor[..], flags, changing].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let lines = report["checks"].as_array().unwrap();
        let missed: Vec<_> = lines.iter().filter(|line| line["fix"] != serde_json::json!([])).collect();
        assert!(missed.is_empty() && report["result"] == "ok", "{flags:?}: {missed:?}");
    }
    // The flags have the same meaning in front of the command.
    let output = run(&["--skip-pages", "setup-sql", "--role", "baton"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), script("baton", &["--skip-pages"]));
}

#[tokio::test]
async fn without_managed_groups_no_group_can_be_created() {
    let database = Database::seeded(FEW).await;
    let flags = ["--provisioning=groups,pages", "--managed-groups=false"];
    let role = set_up(&database, &flags).await;
    let all = set_up(&database, &flags[..1]).await;
    let (less, more) = (granted(&database, &role).await, granted(&database, &all).await);
    let missing: Vec<&str> = more.difference(&less).map(String::as_str).collect();
    assert!(missing.len() > 3 && less.is_subset(&more), "{missing:?}");
    let of_groups =
        |privilege: &&str| privilege.starts_with("INSERT (") && privilege.ends_with(") ON groups");
    let others: Vec<_> = missing.iter().filter(|privilege| !of_groups(privilege)).collect();
    assert_eq!(others, [&"USAGE ON SEQUENCE groups_id_seq"]);
}

#[test]
fn the_help_of_setup_sql_lists_only_its_own_settings() {
    let output = run(&["setup-sql", "--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in ["--connection-string", "--listen", "--log-level", "[env:", "[required]", "Connector options"]
    {
        assert!(!help.contains(flag), "{flag}: {help}");
    }
    for flag in
        ["--role", "--provisioning", "--extras", "--skip-pages", "--skip-resources", "--managed-groups"]
    {
        assert!(help.contains(flag), "{flag}: {help}");
    }
}
