//! The declaration of all settings; the operational settings are declared in `operation_table.rs`.

use crate::agent::service::ServiceSettings;
use crate::agent::sync::SyncSettings;
use crate::config::declaration::{idle, path, seconds, switch, text, texts, whole};
use crate::config::hosted::HOSTED;
use crate::config::one_shot_table::ONE_SHOT;
use crate::config::operation_table::OPERATION;
use crate::config::setting::{DefaultValue, Fallback, Group, Kind, Relation, Setting, SettingStatus};
use crate::config::sources::Sources;
use crate::connector::Options;
use crate::connector::resource_kind::ResourceKind;
use crate::retool::api::settings::ApiSettings;
use crate::retool::privileges::Scope;

/// All settings of this release, by heading. A settings type reads a setting through a field with its name.
pub(crate) const ALL: &[Setting] = &joined::<{ SETTINGS.len() + OPERATION.len() + ONE_SHOT.len() }>();

/// The concatenated tables.
const fn joined<const COUNT: usize>() -> [Setting; COUNT] {
    let tables = [SETTINGS, OPERATION, ONE_SHOT];
    let mut all = [SETTINGS[0]; COUNT];
    let (mut table, mut row, mut at) = (0, 0, 0);
    while at < COUNT {
        if row < tables[table].len() {
            all[at] = tables[table][row];
            row += 1;
            at += 1;
        } else {
            table += 1;
            row = 0;
        }
    }
    all
}

/// The settings of the connector, of a run and of a sync.
const SETTINGS: &[Setting] = &[
    Setting {
        fallback: Fallback::Required,
        value_name: "STRING",
        secret: true,
        ..text(
            "connection-string",
            Group::Connector,
            "Connection string of Retool's Postgres database: a postgres:// URL or keyword=value pairs",
        )
    },
    switch(
        "skip-pages",
        Group::Connector,
        Scope::DEFAULT.skip_pages,
        "Leave out Retool's apps, which the protocol calls pages",
    ),
    switch(
        "skip-resources",
        Group::Connector,
        Scope::DEFAULT.skip_resources,
        "Leave out Retool's resources: the data sources its apps use",
    ),
    switch(
        "skip-disabled-users",
        Group::Connector,
        Options::DEFAULT.skip_disabled_users,
        "Leave out users who are disabled in Retool",
    ),
    Setting {
        relation: Some(Relation::GoesWith("retool-api-token")),
        kind: Kind::Url,
        value_name: "URL",
        ..text(
            "retool-api-base-url",
            Group::Connector,
            "Base URL of Retool's REST API, for accounts and actions; requires retool-api-token",
        )
    },
    Setting {
        value_name: "TOKEN",
        relation: Some(Relation::GoesWith("retool-api-base-url")),
        secret: true,
        ..text(
            "retool-api-token",
            Group::Connector,
            "API token for Retool's REST API; requires retool-api-base-url",
        )
    },
    Setting {
        short: Some('p'),
        ..switch(
            "provisioning",
            Group::Run,
            Scope::DEFAULT.provisioning,
            "Allow changes in Retool: grants, revocations, accounts and actions",
        )
    },
    Setting {
        protects: true,
        ..switch(
            "dry-run",
            Group::Run,
            Options::DEFAULT.dry_run,
            "Report what a change would do without making it; use with provisioning",
        )
    },
    switch(
        "managed-groups",
        Group::Run,
        Scope::DEFAULT.managed_groups,
        "Grant single users access to apps through dedicated groups that the connector creates in Retool",
    ),
    seconds(
        "http-timeout-seconds",
        Group::Run,
        (1, 1800),
        ApiSettings::TIMEOUT,
        "Timeout for one request to Retool's REST API or for a ConductorOne token; values above 30 count as 30",
    ),
    switch("ticketing", Group::Run, Options::DEFAULT.ticketing, "Enable the ticketing calls of the protocol"),
    idle(
        text("auth-method", Group::Run, "How to authenticate to Retool"),
        "the connector authenticates only to Retool's database, with connection-string",
    ),
    idle(
        whole(
            "session-store-maximum-size",
            Group::Run,
            (0, u32::MAX),
            15 * MIB as usize,
            "BYTES",
            "Maximum size of the session store in memory",
        ),
        "this connector keeps no session store",
    ),
    Setting {
        value_name: "ID",
        relation: Some(Relation::GoesWith("client-secret")),
        ..text(
            "client-id",
            Group::Service,
            "Client id for ConductorOne; without a command, the program then runs ConductorOne's tasks",
        )
    },
    Setting {
        value_name: "SECRET",
        relation: Some(Relation::GoesWith("client-id")),
        secret: true,
        ..text("client-secret", Group::Service, "Client secret for ConductorOne; requires client-id")
    },
    whole(
        "task-concurrency",
        Group::Service,
        (1, 100),
        ServiceSettings::TASK_CONCURRENCY as usize,
        "COUNT",
        "Maximum number of ConductorOne tasks that run at the same time",
    ),
    Setting {
        short: Some('f'),
        fallback: Fallback::Value(DefaultValue::Text(SyncSettings::FILE)),
        ..path("file", Group::Sync, "Path of the c1z file to write or to read")
    },
    Setting {
        value_name: "TYPES",
        suggested: ResourceKind::TYPE_IDS,
        ..texts("sync-resource-types", Group::Sync, "Read only these resource types, such as org,user,group")
    },
    Setting {
        value_name: "IDS",
        ..texts(
            "sync-resources",
            Group::Sync,
            "Read only these resources and what belongs to them, each written as bid:r:<type>/<id>",
        )
    },
    switch("skip-entitlements-and-grants", Group::Sync, false, "Read resource types and resources only"),
    Setting {
        relation: Some(Relation::Needs("sync-resources")),
        ..switch("skip-grants", Group::Sync, false, "Read no grants; requires sync-resources")
    },
    switch(
        "skip-full-sync",
        Group::Sync,
        false,
        "Upload an empty sync to ConductorOne instead of a full one; has no effect on a one-shot sync",
    ),
    Setting {
        kind: Kind::Workers,
        fallback: Fallback::Value(DefaultValue::Text(SyncSettings::WORKERS)),
        value_name: "COUNT",
        ..text(
            "workers",
            Group::Sync,
            "Number of parallel calls of a sync; 0 makes one call at a time, -1 makes one per processor, at most 4",
        )
    },
    Setting {
        status: SettingStatus::Deprecated("workers"),
        ..switch("parallel-sync", Group::Sync, false, "The same as workers -1, which is the default")
    },
    Setting {
        value_name: "FOLDER",
        fallback: Fallback::Depends { text: "BATON_TMPDIR, else the system's", value: folder_of_the_family },
        ..path("c1z-temp-dir", Group::Sync, "Folder in which a c1z file is unpacked while it is in use")
    },
    whole(
        "keep-sync-count",
        Group::Sync,
        (1, 10_000),
        SyncSettings::KEEP_SYNCS as usize,
        "COUNT",
        "Number of full syncs to keep in the file, including the new one",
    ),
    switch("skip-cleanup", Group::Sync, false, "Keep every sync in the file"),
    path(
        "external-resource-c1z",
        Group::Sync,
        "A c1z file of another connector whose users and groups hold grants of this connector",
    ),
    Setting {
        value_name: "ID",
        relation: Some(Relation::Needs("external-resource-c1z")),
        ..text(
            "external-resource-entitlement-id-filter",
            Group::Sync,
            "Use only the holders of this entitlement in the other file; requires external-resource-c1z",
        )
    },
    idle(
        texts("external-resource-traits", Group::Sync, "Kinds of resources to use from the other file"),
        "only users and groups can hold grants, and both are always used",
    ),
    idle(
        Setting {
            kind: Kind::Choice(&["sqlite", "pebble"]),
            value_name: "ENGINE",
            ..text("storage-engine", Group::Sync, "How a c1z file stores its rows")
        },
        "files are always written in the format v1 (sqlite), which every agent reads",
    ),
    idle(
        switch("keep-previous-sync-c1z", Group::Sync, false, "Keep the file of the previous sync"),
        "this connector never reuses rows of the previous sync",
    ),
];

const MIB: u32 = 1024 * 1024;

/// The directory for temporary files of all baton programs that read and write c1z files.
fn folder_of_the_family(sources: &Sources) -> Option<String> {
    // A name that is not UTF-8 becomes a directory that does not exist, which the command reports.
    sources.variable("BATON_TMPDIR").map(|folder| folder.to_string_lossy().into_owned())
}

/// All settings, including those of a hosted connector.
pub(super) fn every() -> impl Iterator<Item = &'static Setting> {
    ALL.iter().chain(HOSTED)
}

/// The setting with this name.
pub(super) fn named(name: &str) -> Option<&'static Setting> {
    every().find(|setting| setting.name == name)
}
