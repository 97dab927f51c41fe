//! `baton-retool show`: on our own files and on those of Go agents.

use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::cluster::project_file;
use crate::support::postgres::Database;
use crate::support::server::program;

fn show(file: &str, arguments: &[&str]) -> Output {
    program().arg("show").args(arguments).args(["-f", file]).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn rows(file: &str, arguments: &[&str]) -> Vec<Value> {
    let mut all = arguments.to_vec();
    all.extend(["--output", "json"]);
    let output = show(file, &all);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn shows_files_of_go_agents() {
    for name in ["go-0.13-sqlite.c1z", "go-0.25-sqlite.c1z"] {
        let file = project_file(&format!("tests/data/c1z/{name}"));
        let file = file.to_str().unwrap();
        assert_eq!(rows(file, &["resources"]).len(), 99);
        assert_eq!(rows(file, &["entitlements"]).len(), 226);
        assert_eq!(rows(file, &["grants"]).len(), 6_342);
        let users = rows(file, &["resources", "--type", "user"]);
        let user = users[0]["resource"].as_str().unwrap();
        let held = rows(file, &["grants", "--principal", user]);
        let ways = rows(file, &["access", user.split_once('/').unwrap().1]);
        assert!(!held.is_empty() && ways.len() >= held.len());
        let group =
            rows(file, &["entitlements", "--type", "group"])[0]["resource"].as_str().unwrap().to_owned();
        let of_group = rows(file, &["grants", "--resource", &group]);
        assert!(
            of_group
                .iter()
                .all(|row| row["entitlement"].as_str().unwrap().contains(&group.replace('/', ":")))
        );
    }
}

#[test]
fn an_error_is_one_line() {
    let v3 = project_file("tests/data/c1z/go-0.25-pebble.c1z");
    let unfinished = project_file("tests/data/c1z/go-0.25-unfinished.c1z");
    let go = project_file("tests/data/c1z/go-0.25-sqlite.c1z");
    let cases = [
        (v3.to_str().unwrap(), vec!["resources"], 1, "format v3"),
        (unfinished.to_str().unwrap(), vec!["grants"], 1, "no finished sync"),
        ("/no/such/file.c1z", vec!["grants"], 1, "/no/such/file.c1z"),
        (go.to_str().unwrap(), vec!["access", "nobody@nowhere"], 1, "no user"),
        (go.to_str().unwrap(), vec!["grants", "--principal", "u1"], 2, "use the form TYPE/ID"),
    ];
    for (file, arguments, code, words) in cases {
        let output = show(file, &arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains(words), "{errors}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn access_has_one_line_for_each_path_to_an_entitlement() {
    let database = Database::small().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sync.c1z");
    let file = file.to_str().unwrap();
    let synced =
        program().args(["sync", "-f", file, "--connection-string", &database.url()]).output().unwrap();
    assert!(synced.status.success(), "{}", String::from_utf8_lossy(&synced.stderr));
    let derived = rows(file, &["grants"]);
    let derived = derived.iter().find(|row| row["how"] == "derived").expect("a grant follows from another");
    let ways = rows(file, &["access", derived["principal"].as_str().unwrap()]);
    let of_it: Vec<_> = ways.iter().filter(|way| way["entitlement"] == derived["entitlement"]).collect();
    assert!(!of_it.is_empty());
    for way in of_it {
        assert!(way["how"].as_str().unwrap().starts_with("group"), "{way}");
        assert!(way["through"].as_str().unwrap().starts_with("group:"), "{way}");
    }
    let text = show(file, &["resources", "--type", "user"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("resource"), "{text}");
    assert!(text.lines().skip(1).all(|line| line.starts_with("user/")), "{text}");
}
