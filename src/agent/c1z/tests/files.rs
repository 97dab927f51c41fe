//! The file on disk: which files are rejected, left unchanged or replaced.

use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::agent::c1z::container::Target;
use crate::agent::c1z::tests::support::{
    Organization, Outcome, TOKEN, database, integrity, number, open, rows,
};
use crate::agent::c1z::{DecodeLimits, Error, Reader, Started, Store, StoreOptions, SyncKind};

/// The names in a folder.
fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

#[test]
fn the_frame_meets_the_requirements_of_readers() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (users, name) in [(5, "small.c1z"), (900, "large.c1z")] {
        let path = folder.path().join(name);
        Organization::wide(users, 9, 60).sync(&path)?;
        let bytes = fs::read(&path)?;
        let (magic, frame) = bytes.split_at(5);
        assert_eq!(magic, b"C1ZF\0");
        assert_eq!(frame.get(..4), Some(&[0x28, 0xb5, 0x2f, 0xfd][..]));
        let descriptor = frame[4];
        assert_eq!(descriptor & 0x20, 0, "a single segment needs as much memory as the file has bytes");
        assert_eq!(descriptor & 0x04, 0x04, "no checksum");
        let window_log = 10 + (frame[5] >> 3);
        assert!(window_log <= 23, "{window_log}");
        let declared = zstd::zstd_safe::get_frame_content_size(frame).map_err(|_| "no size")?;
        let size = fs::metadata({
            drop(database(&path)?);
            path.with_extension("unpacked.db")
        })?;
        assert_eq!(declared, Some(size.len()));
    }
    Ok(())
}

#[test]
fn leaves_no_other_file_in_the_folder() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    Organization::nested().sync(&path)?;
    assert_eq!(names(folder.path())?, ["sync.c1z"]);
    let before = fs::read(&path)?;
    // A store without a sync, and one that is dropped before `close`.
    assert_eq!(open(&path)?.close()?, None);
    let mut store = open(&path)?;
    store.start(SyncKind::Full)?;
    Organization::nested().put(&mut store)?;
    drop(store);
    assert_eq!(names(folder.path())?, ["sync.c1z"]);
    assert!(fs::read(&path)? == before);
    Ok(())
}

#[test]
fn an_empty_file_is_a_new_store() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let missing = Reader::open(&path, None, DecodeLimits::default());
    assert!(matches!(missing, Err(Error::Missing { .. })));
    fs::write(&path, "")?;
    assert!(matches!(Reader::open(&path, None, DecodeLimits::default()), Err(Error::Empty { .. })));
    Organization::default().sync(&path)?;
    let file = database(&path)?;
    assert_eq!(rows(&file, "SELECT stats FROM v1_sync_runs")?, ["{}"]);
    assert_eq!(integrity(&file)?, ["ok"]);
    Ok(())
}

#[test]
fn devices_and_pipes_are_neither_replaced_nor_opened() -> Outcome {
    let folder = tempfile::tempdir()?;
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status()?.success());
    let link = folder.path().join("link");
    symlink("/dev/null", &link)?;
    for path in [&pipe, &link] {
        for error in [open(path).err(), Reader::open(path, None, DecodeLimits::default()).err()] {
            assert!(matches!(error, Some(Error::Special { .. })), "{error:?}");
        }
    }
    Ok(())
}

/// Writes a finished sync, then one that ends after its resource types.
fn interrupted(made: &Organization, path: &Path) -> Result<Started, Box<dyn std::error::Error>> {
    made.sync(path)?;
    let mut store = open(path)?;
    let started = store.start(SyncKind::Full)?;
    store.put_resource_types(&made.types)?;
    store.checkpoint("{\"version\":1,\"here\":true}")?;
    store.close()?;
    Ok(started)
}

#[test]
fn a_rejected_unfinished_sync_is_replaced() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let made = Organization::nested();
    let first = interrupted(&made, &path)?;

    let mut store = open(&path)?;
    let second = store.start_or_resume(SyncKind::Full, &|state| !state.contains("here"))?;
    assert!(!second.resumed && second.token.is_empty());
    assert_ne!(second.sync_id, first.sync_id);
    assert!(store.resource_types()?.is_empty());
    store.checkpoint("{\"version\":1}")?;
    store.close()?;
    let file = database(&path)?;
    let unfinished = rows(&file, "SELECT sync_id FROM v1_sync_runs WHERE ended_at IS NULL")?;
    assert_eq!(unfinished, [second.sync_id]);
    let stored =
        "SELECT count(*) FROM v1_resource_types JOIN v1_sync_runs USING (sync_id) WHERE ended_at IS NULL";
    assert_eq!(number(&file, stored)?, 0);
    Ok(())
}

#[test]
fn an_interrupted_sync_is_resumed() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let made = Organization::nested();
    let first = interrupted(&made, &path)?;
    // Readers still see the finished sync.
    assert_eq!(Reader::open(&path, None, DecodeLimits::default())?.resource_types()?.len(), 3);

    let mut store = open(&path)?;
    let second = store.start(SyncKind::Full)?;
    assert_eq!((second.sync_id, second.resumed), (first.sync_id, true));
    assert_eq!(second.token, "{\"version\":1,\"here\":true}");
    made.put(&mut store)?;
    store.expand(&mut |_, _| ControlFlow::Continue(()))?;
    store.finish(TOKEN)?;
    store.close()?;
    let file = database(&path)?;
    assert_eq!(number(&file, "SELECT count(*) FROM v1_sync_runs WHERE ended_at IS NOT NULL")?, 2);
    assert_eq!(
        number(&file, "SELECT count(DISTINCT n) FROM (SELECT count(*) n FROM v1_grants GROUP BY sync_id)")?,
        1
    );
    Ok(())
}

#[test]
fn only_one_run_at_a_time_can_open_a_file() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let first = open(&path)?;
    let refused = open(&path).map(drop).map_err(|error| error.to_string());
    assert!(refused.is_err_and(|text| text.contains("sync.c1z") && text.contains("another run")));
    // Another file in the same folder is independent.
    drop(open(&folder.path().join("other.c1z"))?);
    drop(first);
    drop(open(&path)?);
    Ok(())
}

#[test]
fn foreign_files_are_rejected_and_unchanged() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    for (content, expected) in [
        (&b"hello world"[..], "is not a c1z file"),
        (b"C1Z", "is not a c1z file"),
        (b"C1Z3\0rest", "format v3"),
        (b"C1ZF\0nothing", "is damaged"),
    ] {
        fs::write(&path, content)?;
        let refused = Store::open(&StoreOptions::new(&path)).map(drop).map_err(|error| error.to_string());
        assert!(refused.as_ref().is_err_and(|text| text.contains(expected)), "{refused:?}");
        assert!(refused.is_err_and(|text| text.contains("sync.c1z") && !text.contains('\n')));
        assert_eq!(fs::read(&path)?, content);
        assert_eq!(names(folder.path())?, ["sync.c1z"]);
    }
    // A frame that does not contain a database.
    let mut packed = b"C1ZF\0".to_vec();
    packed.extend(zstd::encode_all(&b"no database at all, but long enough to be read as one"[..], 1)?);
    fs::write(&path, packed)?;
    assert!(matches!(open(&path), Err(Error::Damaged { .. })));
    // A truncated file.
    fs::remove_file(&path)?;
    Organization::nested().sync(&path)?;
    let whole = fs::read(&path)?;
    fs::write(&path, whole.get(..whole.len() / 2).unwrap_or_default())?;
    assert!(matches!(open(&path), Err(Error::Damaged { .. })));
    Ok(())
}

#[test]
fn a_decompression_bomb_is_not_unpacked() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let limits = DecodeLimits { decoded: 1 << 20, ..DecodeLimits::default() };
    for declares in [true, false] {
        let mut file = fs::File::create(&path)?;
        file.write_all(b"C1ZF\0")?;
        let mut encoder = zstd::Encoder::new(file, 1)?;
        if declares {
            encoder.set_pledged_src_size(Some(2 << 20))?;
        }
        encoder.write_all(&vec![0; 2 << 20])?;
        encoder.finish()?;
        let refused = Store::open(&StoreOptions { limits, ..StoreOptions::new(&path) });
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
    }
    // A window of 256 MiB.
    let mut encoder = zstd::Encoder::new(b"C1ZF\0".to_vec(), 1)?;
    encoder.window_log(28)?;
    encoder.write_all(b"x")?;
    fs::write(&path, encoder.finish()?)?;
    assert!(matches!(open(&path), Err(Error::Damaged { .. })));
    Ok(())
}

#[test]
fn the_error_names_a_missing_folder() {
    let refused = Store::open(&StoreOptions::new("/nowhere/at/all/sync.c1z"));
    let text = refused.map(drop).map_err(|error| error.to_string());
    assert!(text.is_err_and(|text| text.contains("/nowhere/at/all") && text.contains("create the folder")));
    let refused = Store::open(&StoreOptions::new("/"));
    assert!(refused.is_err());
}

#[test]
fn removes_leftovers_of_killed_runs() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    for (name, content) in [
        (".sync.c1z.baton-x1Y2z3.tmp", "half a file"),
        (".sync.c1z.lock", ""),
        (".other.c1z.baton-x1Y2z3.tmp", "not ours"),
        // The temporary file of a target `sync.c1z.baton-x`, and a file of the user.
        (".sync.c1z.baton-x.baton-x1Y2z3.tmp", "not ours"),
        (".sync.c1z.backup.tmp", "not ours"),
        ("baton-c1z-abc.lock", ""),
    ] {
        fs::write(folder.path().join(name), content)?;
    }
    fs::create_dir(folder.path().join("baton-c1z-abc"))?;
    fs::write(folder.path().join("baton-c1z-abc/old.db"), "x")?;
    Organization::nested().sync(&path)?;
    let left = [
        ".other.c1z.baton-x1Y2z3.tmp",
        ".sync.c1z.backup.tmp",
        ".sync.c1z.baton-x.baton-x1Y2z3.tmp",
        "sync.c1z",
    ];
    assert_eq!(names(folder.path())?, left);
    Ok(())
}

#[cfg(unix)]
#[test]
fn keeps_links_and_file_modes() -> Outcome {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let folder = tempfile::tempdir()?;
    let real = folder.path().join("real.c1z");
    let link = folder.path().join("link.c1z");
    fs::write(&real, "")?;
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640))?;
    symlink(&real, &link)?;
    Organization::nested().sync(&link)?;
    assert!(fs::symlink_metadata(&link)?.is_symlink());
    assert_eq!(fs::metadata(&real)?.permissions().mode() & 0o777, 0o640);
    assert_eq!(integrity(&database(&real)?)?, ["ok"]);
    Ok(())
}

#[test]
fn a_failing_replacement_leaves_the_old_file() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    Organization::nested().sync(&path)?;
    let before = fs::read(&path)?;
    let target = Target::new(&path)?;
    let broken = || Error::Foreign { path: path.clone() };
    let failed = target.replace(100, 2, |put| put(&[0; 50]).and(Err(broken())));
    assert!(matches!(failed, Err(Error::Foreign { .. })), "{failed:?}");
    // Fewer bytes than announced.
    assert!(target.replace(100, 2, |put| put(&[0; 99])).is_err());
    assert!(fs::read(&path)? == before);
    assert_eq!(names(folder.path())?, ["sync.c1z"]);
    Ok(())
}
