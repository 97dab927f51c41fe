use std::path::Path;

use crate::agent::sync::Workers;

use super::*;

fn sync(setup: &Setup) -> Result<SyncSettings, Error> {
    load_sync(&setup.matches(), &setup.sources).map(|(settings, _)| settings)
}

#[test]
fn a_sync_requires_no_settings() {
    let settings = sync(&Setup::bare()).unwrap();
    assert_eq!((settings.file.as_path(), settings.file_is_given), (Path::new("sync.c1z"), false));
    assert_eq!((settings.temp_dir, settings.keep_syncs, settings.skip_cleanup), (None, 2, false));
    assert_eq!(settings.options.workers, Workers::Auto);
    assert!(settings.options.targets.is_empty() && settings.options.external.is_none());
}

#[test]
fn sync_settings_can_come_from_every_source() {
    let setup = Setup::bare()
        .flags(["-f", "given.c1z", "--sync-resource-types", "user,group", "--sync-resource-types", "org"])
        .variable("BATON_KEEP_SYNC_COUNT", "5")
        .variable("BATON_TMPDIR", "/var/spool")
        .file("workers: -1\nskip-cleanup: true\nskip-entitlements-and-grants: true\n");
    let settings = sync(&setup).unwrap();
    assert_eq!((settings.file.as_path(), settings.file_is_given), (Path::new("given.c1z"), true));
    assert_eq!(settings.options.resource_types, ["user", "group", "org"]);
    assert_eq!((settings.keep_syncs, settings.skip_cleanup), (5, true));
    assert_eq!(settings.temp_dir.as_deref(), Some(Path::new("/var/spool")));
    assert_eq!(settings.options.workers, Workers::Auto);
    assert!(settings.options.skip_entitlements_and_grants);
}

#[test]
fn workers_are_a_number_or_automatic() {
    for (given, expected) in
        [("0", Workers::One), ("1", Workers::Count(1)), ("8", Workers::Count(8)), ("-1", Workers::Auto)]
    {
        let settings = sync(&Setup::bare().flags(["--workers", given])).unwrap();
        assert_eq!(settings.options.workers, expected);
    }
    assert_eq!(sync(&Setup::bare().flags(["--parallel-sync"])).unwrap().options.workers, Workers::Auto);
    let both = Setup::bare().flags(["--parallel-sync", "--workers", "3"]);
    assert_eq!(sync(&both).unwrap().options.workers, Workers::Count(3));
    for wrong in ["-2", "257", "many"] {
        let error = sync(&Setup::bare().flags(["--workers", wrong])).unwrap_err().to_string();
        assert!(error.contains("accepted: -1, or a whole number from 0 to 256"), "{error}");
    }
}

#[test]
fn rejects_sync_settings_without_the_settings_that_they_need() {
    let error = |flags: [&str; 2]| sync(&Setup::bare().flags(flags)).unwrap_err().to_string();
    assert!(error(["--skip-grants", "--skip-cleanup"]).contains("requires sync-resources"));
    let filter = error(["--external-resource-entitlement-id-filter", "x"]);
    assert!(filter.contains("requires external-resource-c1z"), "{filter}");
    let together = Setup::bare().flags(["--skip-grants", "--sync-resources", "bid:r:group/g1"]);
    assert!(sync(&together).unwrap().options.skip_grants);
    assert!(error(["--sync-resources", "group/g1"]).contains("bid:r:<type>/<id>"));
    let other = Setup::bare().flags(["--sync-resources", "bid:r:group/g1", "--sync-resource-types", "user"]);
    let none = sync(&Setup::bare().flags(["--keep-sync-count", "0"])).unwrap_err().to_string();
    assert!(none.contains("a whole number from 1 to 10000"), "{none}");
    assert!(sync(&other).unwrap_err().to_string().contains("none of the resources"));
}
