//! One-shot changes: the program without a command, on a real Postgres and the double of Retool's REST API.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::changes::Tables;
use crate::support::postgres::Database;
use crate::support::retool_api::{Reply, RetoolApi};
use crate::support::server::program;

const JOIN: [&str; 3] =
    ["--grant-entitlement=group:g5:member", "--grant-principal=u7", "--grant-principal-type=user"];
const LEAVE: &str = "--revoke-grant=group:g5:member:user:u7";

/// The text of a dry run about a change that is in place.
const NOTHING: &str = "change nothing";

/// A Retool, and a directory to run in.
struct Bench {
    api: RetoolApi,
    database: Database,
    folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let database = Database::small().await;
        database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 5 AND "userId" = 7"#).await;
        Self { api: RetoolApi::start(&database), database, folder: tempfile::tempdir().unwrap() }
    }

    /// Runs the program with these flags until it exits. The log level is debug, so that everything that can
    /// be logged is logged.
    async fn run(&self, flags: &[&str]) -> Output {
        let mut command: Command = program();
        command
            .args(flags)
            .args(self.api.flags())
            .args(["--log-level", "debug", "--log-format", "console"])
            .env("BATON_CONNECTION_STRING", self.database.url())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        // The double runs in this process.
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        for personal in ["ada@", "Lovelace", "retool_01-kept"] {
            assert!(!errors.contains(personal), "{personal}: {errors}");
        }
        output
    }

    /// The JSON output of a successful change.
    async fn done(&self, flags: &[&str]) -> Value {
        let mut all = vec!["--provisioning", "--output", "json"];
        all.extend(flags);
        let output = self.run(&all).await;
        assert_eq!(output.status.code(), Some(0), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The reason for a refused change: the last line. Checks that nothing is printed and no row changes.
    async fn refused(&self, code: i32, flags: &[&str]) -> String {
        let before = Tables::of(&self.database).await;
        let output = self.run(flags).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {errors}");
        assert!(output.stdout.is_empty(), "{flags:?}");
        before.assert_same(&Tables::of(&self.database).await);
        let reason = errors.lines().rfind(|line| line.starts_with("baton-retool: "));
        reason.unwrap_or_else(|| panic!("{flags:?}: {errors}")).to_owned()
    }

    /// Makes a change twice. Also checks that it is refused while changes are off, and that a dry run before
    /// the change and one after it change no row and report what a run would do.
    async fn twice(&self, flags: &[&str]) -> (Value, Value) {
        let reason = self.refused(1, flags).await;
        assert!(reason.contains("provisioning is not enabled: add --provisioning"), "{reason}");
        let would = self.would(flags).await;
        assert!(!would.is_empty() && would != NOTHING, "{would}");
        let done = (self.done(flags).await, self.done(flags).await);
        assert_eq!(self.would(flags).await, NOTHING);
        done
    }

    /// What a run would do according to a dry run, as JSON and as text.
    async fn would(&self, flags: &[&str]) -> String {
        let before = Tables::of(&self.database).await;
        let dry = self.done(&[flags, &["--dry-run"]].concat()).await;
        assert_eq!(dry["outcome"], "dry_run", "{dry}");
        let would = dry["would"].as_str().unwrap().to_owned();
        let printed = self.printed(&[flags, &["--dry-run"]].concat()).await;
        assert_eq!(printed, format!("dry run: would {would}\n"));
        before.assert_same(&Tables::of(&self.database).await);
        would
    }

    /// The text output of a successful change.
    async fn printed(&self, flags: &[&str]) -> String {
        let output = self.run(&[&["--provisioning"], flags].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn count(&self, sql: &str) -> i64 {
        self.database.reader().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn is_member(&self) -> bool {
        self.count(r#"SELECT count(*) FROM user_groups WHERE "groupId" = 5 AND "userId" = 7"#).await == 1
    }
}

fn outcomes(pair: &(Value, Value)) -> (&str, &str) {
    (pair.0["outcome"].as_str().unwrap(), pair.1["outcome"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_is_granted_and_revoked() {
    let bench = Bench::new().await;
    let granted = bench.twice(&JOIN).await;
    assert_eq!(outcomes(&granted), ("changed", "unchanged"));
    assert!(bench.is_member().await);
    let (first, _) = granted;
    assert_eq!(first["operation"], "grant");
    assert_eq!((&first["entitlement"], &first["principal"]), (&json!("group:g5:member"), &json!("user/u7")));
    assert_eq!(first["response"]["grants"][0]["id"], "group:g5:member:user:u7");
    let text = first.to_string();
    assert!(text.contains(r#""organization_id":1}"#) || text.contains(r#""organization_id":1,"#), "{text}");
    let revoked = bench.twice(&[LEAVE]).await;
    assert_eq!(outcomes(&revoked), ("changed", "unchanged"));
    assert!(!bench.is_member().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_is_printed_as_one_line() {
    let bench = Bench::new().await;
    for (flags, line) in [
        (
            &[&JOIN[..], &["-p", "--dry-run"]].concat(),
            "dry run: would change the principal's access from none to member",
        ),
        (&[&JOIN[..], &["-p"]].concat(), "granted group:g5:member to user/u7"),
        (&[&JOIN[..], &["-p"]].concat(), "nothing to do: user/u7 already has group:g5:member"),
        (&vec![LEAVE, "-p"], "revoked group:g5:member:user:u7"),
        (&vec![LEAVE, "-p"], "nothing to do: grant group:g5:member:user:u7 does not exist"),
    ] {
        let output = bench.run(flags).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{line}\n"), "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn access_to_a_page_is_granted_and_revoked() {
    let bench = Bench::new().await;
    bench.database.execute(r#"DELETE FROM group_pages WHERE "groupId" = 9 AND "pageId" = 1"#).await;
    let flags =
        ["--grant-entitlement=page:p1:group:write", "--grant-principal=g9", "--grant-principal-type=group"];
    assert_eq!(outcomes(&bench.twice(&flags).await), ("changed", "unchanged"));
    let sql = r#"SELECT count(*) FROM group_pages WHERE "groupId" = 9 AND "pageId" = 1 AND "accessLevel" = 'write'"#;
    assert_eq!(bench.count(sql).await, 1);
}

/// Page 100, and user 100 without access to it.
const WITHOUT_ACCESS: &str = r#"
INSERT INTO folders (id, name, "organizationId", "folderType", "createdAt", "updatedAt")
VALUES (100, 'sales', 1, 'app', now(), now());
INSERT INTO pages (id, name, "organizationId", "folderId", "createdAt", "updatedAt")
VALUES (100, 'orders', 1, 100, now(), now());
INSERT INTO users (id, email, "organizationId", "createdAt", "updatedAt")
VALUES (100, 'a@acme.example', 1, now(), now());
"#;

/// User 100 with write access to page 100 through the group "sales team".
const SALES_TEAM: &str = r#"
INSERT INTO groups (id, name, "organizationId", "createdAt", "updatedAt") VALUES (100, 'sales team', 1, now(), now());
INSERT INTO group_pages ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt")
VALUES (100, 100, 'write', now(), now());
INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt") VALUES (100, 100, now(), now());
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_revoke_names_the_access_that_remains() {
    let bench = Bench::new().await;
    bench.database.execute(WITHOUT_ACCESS).await;
    let grant =
        ["--grant-entitlement=page:p100:user:read", "--grant-principal=u100", "--grant-principal-type=user"];
    let revoke = "--revoke-grant=page:p100:user:read:user:u100";
    assert_eq!(outcomes(&bench.twice(&grant).await), ("changed", "unchanged"));
    assert_eq!(bench.printed(&[revoke]).await, "revoked page:p100:user:read:user:u100\n");
    let nothing = "nothing to do: grant page:p100:user:read:user:u100 does not exist\n";
    assert_eq!(bench.printed(&[revoke]).await, nothing);

    bench.done(&grant).await;
    bench.database.execute(SALES_TEAM).await;
    let would = bench.would(&[revoke]).await;
    assert_eq!(
        would,
        "remove one source of the access; the principal has write access from other sources too"
    );
    let remains =
        "revoked page:p100:user:read:user:u100; the principal still has write access from other sources\n";
    assert_eq!(bench.printed(&[revoke]).await, remains);
    let named = r#"user 100 would still have read access to page 100: group 100 "sales team""#;
    for more in [&[][..], &["--dry-run"]] {
        let reason = bench.refused(1, &[&["-p", revoke], more].concat()).await;
        assert!(reason.contains(named), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_a_revoke_has_the_remaining_access_as_a_field() {
    let bench = Bench::new().await;
    bench.database.execute(WITHOUT_ACCESS).await;
    let grant =
        ["--grant-entitlement=page:p100:user:read", "--grant-principal=u100", "--grant-principal-type=user"];
    let revoke = ["--revoke-grant=page:p100:user:read:user:u100"];
    bench.done(&grant).await;
    bench.database.execute(SALES_TEAM).await;
    let revoked = bench.done(&revoke).await;
    assert_eq!((&revoked["outcome"], &revoked["access_remains"]), (&json!("changed"), &json!("write")));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_looked_up_in_the_given_file() {
    let bench = Bench::new().await;
    let synced = bench.run(&["sync", "-f", "a.c1z"]).await;
    assert!(synced.status.success(), "{}", String::from_utf8_lossy(&synced.stderr));
    assert!(Path::new(&bench.folder.path().join("a.c1z")).exists());
    let with_file = |flags: &[&'static str]| [flags, &["-f", "a.c1z"]].concat();
    assert_eq!(outcomes(&bench.twice(&with_file(&JOIN)).await), ("changed", "unchanged"));
    assert!(bench.is_member().await);
    // The grant is newer than the file.
    let reason = bench.refused(1, &with_file(&["-p", LEAVE])).await;
    assert!(reason.contains("a.c1z has no grant \"group:g5:member:user:u7\""), "{reason}");
    let synced = bench.run(&["sync", "-f", "a.c1z"]).await;
    assert!(synced.status.success());
    assert_eq!(outcomes(&bench.twice(&with_file(&[LEAVE])).await), ("changed", "unchanged"));
    assert!(!bench.is_member().await);
    let missing = [
        "-p",
        "--grant-entitlement=group:g999:member",
        "--grant-principal=u7",
        "--grant-principal-type=user",
    ];
    let reason = bench.refused(1, &with_file(&missing)).await;
    assert!(reason.contains("has no entitlement \"group:g999:member\""), "{reason}");
    let reason = bench.refused(1, &[&JOIN[..], &["-p", "-f", "nowhere.c1z"]].concat()).await;
    assert!(reason.contains("nowhere.c1z does not exist: run a sync first"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_missing_entitlement_or_principal() {
    let bench = Bench::new().await;
    let grant = |entitlement: &str, principal: &str, kind: &str| {
        vec![
            "-p".to_owned(),
            format!("--grant-entitlement={entitlement}"),
            format!("--grant-principal={principal}"),
            format!("--grant-principal-type={kind}"),
        ]
    };
    for (flags, words) in [
        (grant("group:g999:member", "u7", "user"), "g999"),
        (
            grant("group:g5:owner", "u7", "user"),
            "group/g5 has no entitlement \"group:g5:owner\"; it has group:g5:member, group:g5:admin",
        ),
        (grant("group:g5:member", "u99999", "user"), "u99999"),
        (grant("group:g5:member", "u7", "banana"), "banana"),
        (grant("entitlement:o1:auditLog", "u7", "user"), "Unimplemented"),
        (grant("nonsense", "u7", "user"), "no entitlement has the id \"nonsense\""),
    ] {
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let reason = bench.refused(1, &flags).await;
        assert!(reason.contains(words), "no {words:?} in: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_created_once() {
    let bench = Bench::new().await;
    let flags = [
        "--create-account-email=ada@example.com",
        r#"--create-account-profile={"first_name": "Ada", "last_name": "Lovelace"}"#,
    ];
    let created = bench.twice(&flags).await;
    assert_eq!(outcomes(&created), ("changed", "unchanged"));
    assert_eq!(created.0["account"], created.1["account"]);
    assert!(created.0["account"].as_str().unwrap().starts_with("user/u"), "{}", created.0);
    assert_eq!(bench.count("SELECT count(*) FROM users WHERE email = 'ada@example.com'").await, 1);
    let dry = bench.done(&[&flags[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry["account"], created.0["account"], "a dry run names the existing account");
    let other =
        r#"--create-account-profile={"email": "lovelace@example.com", "first_name": "A", "last_name": "B"}"#;
    let reason = bench.refused(2, &["-p", flags[0], other]).await;
    assert!(reason.contains("create-account-email (flag --create-account-email) differs from"), "{reason}");
    let reason = bench.refused(1, &["-p", "--create-account-login=ada"]).await;
    assert!(reason.contains("account_info.profile.email: is required"), "{reason}");
    assert_eq!(bench.api.faults(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_runs_until_it_ends() {
    let bench = Bench::new().await;
    let args = r#"--invoke-action-args={"user_id": {"resource_type_id": "user", "resource_id": "u5"}}"#;
    let disabled = bench.twice(&["--invoke-action=disable_user", args]).await;
    assert_eq!(outcomes(&disabled), ("changed", "unchanged"));
    assert_eq!(disabled.0["response"]["status"], "BATON_ACTION_STATUS_COMPLETE");
    assert_eq!(disabled.0["response"]["response"], json!({"success": true}));
    assert_eq!(bench.count("SELECT count(*) FROM users WHERE id = 5 AND NOT enabled").await, 1);
    let enable = ["--invoke-action=enable_user", args];
    assert_eq!(bench.would(&enable).await, "enable the account of user u5");
    assert_eq!(bench.printed(&enable).await, "enable_user: complete\n");
    assert_eq!(bench.printed(&enable).await, "nothing to do: enable_user changed nothing\n");
    assert_eq!(bench.would(&enable).await, NOTHING);
    assert_eq!(bench.count("SELECT count(*) FROM users WHERE id = 5 AND enabled").await, 1);
    bench.api.always("PATCH", Reply::refusal(400, "no"));
    let reason = bench.refused(1, &["-p", "--invoke-action=disable_user", args]).await;
    assert!(reason.contains("the action failed: {\"error\":\"InvalidArgument: "), "{reason}");
    let reason = bench.refused(1, &["-p", "--invoke-action=no_such_action"]).await;
    assert!(reason.contains("NotFound"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_the_actions() {
    let bench = Bench::new().await;
    let listed = bench.done(&["--list-action-schemas"]).await;
    assert_eq!(listed["outcome"], "read");
    let names: Vec<_> =
        listed["response"]["schemas"].as_array().unwrap().iter().map(|schema| &schema["name"]).collect();
    assert_eq!(names, ["enable_user", "disable_user"]);
    let of_users = bench.done(&["--list-action-schemas", "--list-action-schemas-resource-type=user"]).await;
    assert_eq!(of_users["response"], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_changes_are_refused_and_change_nothing() {
    let bench = Bench::new().await;
    let template = bench.folder.path().join("ticket.json");
    std::fs::write(&template, r#"{"schema_id": "s1", "display_name": "A ticket"}"#).unwrap();
    for (flags, words) in [
        (vec!["-p", "--delete-resource=g5", "--delete-resource-type=group"], "Unimplemented"),
        (vec!["-p", "--rotate-credentials=u5", "--rotate-credentials-type=user"], "Unimplemented"),
        (vec!["-p", "--event-feed"], "event feed id \"baton_feed_event\" not found"),
        (vec!["-p", "--create-ticket", "--ticket-template-path=ticket.json"], "Unimplemented"),
        (vec!["-p", "--bulk-create-ticket", "--bulk-ticket-template-path=ticket.json"], "Unimplemented"),
        (vec!["-p", "--get-ticket", "--ticket-id=t1"], "Unimplemented"),
        (vec!["-p", "--list-ticket-schemas"], "Unimplemented"),
    ] {
        let reason = bench.refused(1, &flags).await;
        assert!(reason.contains(words), "no {words:?} in: {reason}");
    }
}
