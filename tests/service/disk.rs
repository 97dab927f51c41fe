//! A full disk: the sync fails with the reason, leaves no files, and succeeds once there is space.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use baton_retool::proto::connectorapi::task::{SyncFullTask, TaskType};
use rlimit::Resource;

use super::small;
use crate::support::c1::{C1, Finished};
use crate::support::postgres::Database;
use crate::support::server::Server;
use crate::support::skipped::skipped;

fn sync() -> TaskType {
    TaskType::SyncFull(SyncFullTask::default())
}

/// The program, started by a shell command, which ends in `exec "$@"`; `$0` is a folder.
fn behind(words: &str, folder: &Path, program: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(words).arg(folder).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.current_dir(program.get_current_dir().unwrap());
    shell
}

async fn fails(c1: &C1, server: &Server) {
    let id = c1.give(sync());
    c1.finished(&id).await.assert_failed(2, "cannot ", false);
    server.wait_for_log(|line| line["msg"] == "the sync failed");
    // Other tasks continue.
    c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_size_limit_fails_the_sync_but_not_the_program() {
    let (c1, database) = (C1::start().await, Database::small().await);
    let words = r#"trap '' XFSZ; ulimit -S -f 64; exec "$@""#;
    let server = Server::run(behind(words, &c1.temp_dir(), &c1.program(&database.url())));
    fails(&c1, &server).await;
    assert!(c1.left_over().is_empty(), "{:?}", c1.left_over());
    let process = i32::try_from(server.process_id()).unwrap();
    let (room, most) = (rlimit::INFINITY, rlimit::INFINITY);
    rlimit::prlimit(process, Resource::FSIZE, Some((room, most)), None).unwrap();
    let ended = c1.run(sync()).await;
    assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
    assert!(c1.left_over().is_empty(), "{:?}", c1.left_over());
}

/// Needs a separate file system, which only some users may mount.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_the_sync_but_not_the_program() {
    let alone = ["--user", "--map-root-user", "--mount"];
    let can_mount = Command::new("unshare")
        .args(alone)
        .args(["sh", "-c", r#"mount -t tmpfs none "$0""#])
        .arg(tempfile::tempdir().unwrap().path())
        .output();
    if !can_mount.is_ok_and(|output| output.status.success()) {
        skipped("no file system for a full disk can be mounted");
        return;
    }
    let (c1, database) = (C1::start().await, Database::small().await);
    let words = r#"exec unshare --user --map-root-user --mount sh -c '
        mount -t tmpfs -o size=8m none "$0" || exit 9
        head -c 16m /dev/zero >"$0/ballast"
        exec "$@"' "$0" "$@""#;
    let server = Server::run(behind(words, &c1.temp_dir(), &c1.program(&database.url())));
    // No free space at all.
    fails(&c1, &server).await;
    let inside = PathBuf::from(format!("/proc/{}/root", server.process_id()));
    let inside = inside.join(c1.temp_dir().strip_prefix("/").unwrap());
    let left_over = || -> Vec<_> {
        let names = inside.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name != "ballast").collect()
    };
    assert!(left_over().is_empty(), "{:?}", left_over());
    // Space for the start of a file.
    let ballast = File::options().write(true).open(inside.join("ballast")).unwrap();
    ballast.set_len(ballast.metadata().unwrap().len() - 64 * 1024).unwrap();
    fails(&c1, &server).await;
    assert!(left_over().is_empty(), "{:?}", left_over());
    let full = server.wait_for_log(|line| line["msg"] == "the sync failed");
    assert!(full["error"].as_str().unwrap().contains("free some space"), "{full}");
    ballast.set_len(0).unwrap();
    let ended = c1.run(sync()).await;
    assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
    assert!(left_over().is_empty(), "{:?}", left_over());
}
