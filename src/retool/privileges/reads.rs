//! Declares the tables and columns that are read, and their purpose. The probe, the script of `setup-sql` and
//! `doctor` all use this declaration.

use crate::retool::privileges::column::Column;
use crate::retool::privileges::scope::Scope;

/// Tables that are read all together or not at all.
pub(crate) struct Part {
    /// Their content, as `doctor` and `setup-sql` name it.
    pub(crate) what: &'static str,
    /// Whether a configuration reads them.
    pub(crate) wanted: fn(Scope) -> bool,
    pub(crate) tables: &'static [Reads],
}

/// The columns that are read of one table.
pub(crate) struct Reads {
    pub(crate) table: &'static str,
    /// The table's purpose, for an SQL comment.
    pub(crate) purpose: &'static str,
    /// Columns with integers.
    pub(crate) keys: &'static [&'static str],
    pub(crate) texts: &'static [&'static str],
    /// Columns with an access level, as text.
    pub(crate) levels: &'static [&'static str],
    /// Boolean columns.
    pub(crate) switches: &'static [&'static str],
    pub(crate) times: &'static [&'static str],
}

/// The kind of value in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// An integer.
    Key,
    /// Text.
    Text,
    /// Text that is compared with levels of other tables.
    Level,
    /// A boolean.
    Switch,
    /// A timestamp.
    Time,
}

/// An optional column. Results are better if it is readable; `loss` describes the effect of its absence.
pub(crate) struct Optional {
    pub(crate) column: Column,
    pub(crate) sort: Sort,
    pub(crate) loss: &'static str,
    /// Whether to warn the operator, because results are wrong without the column and not just less complete.
    pub(crate) matters: bool,
    /// Whether it is granted only if extras are requested.
    pub(crate) extra: bool,
}

const NONE: &[&str] = &[];

/// All tables that are read, in the order in which they are granted and checked.
const PARTS: &[Part] = &[
    Part { what: "organizations, users and groups", wanted: |_| true, tables: ALWAYS },
    Part { what: "apps", wanted: |scope| !scope.skip_pages, tables: FOR_PAGES },
    Part { what: "resources", wanted: |scope| !scope.skip_resources, tables: FOR_RESOURCES },
];

const ALWAYS: &[Reads] = &[
    Reads {
        table: "organizations",
        purpose: "organizations",
        keys: &["id"],
        texts: &["name"],
        levels: NONE,
        switches: NONE,
        times: NONE,
    },
    Reads {
        table: "users",
        purpose: "users, and the organization of each; no passwords and no tokens",
        keys: &["id", "organizationId"],
        texts: &["email", "firstName", "lastName", "userName"],
        levels: NONE,
        switches: &["enabled"],
        times: &["lastLoggedIn"],
    },
    Reads {
        table: "groups",
        purpose: "groups, and their rights over everything",
        keys: &["id", "organizationId"],
        texts: &["name"],
        levels: &["universalAccess", "universalResourceAccess", "universalQueryLibraryAccess"],
        switches: &["userListAccess", "auditLogAccess", "unpublishedReleaseAccess"],
        times: NONE,
    },
    Reads {
        table: "user_groups",
        purpose: "who is in which group, and who manages it",
        keys: &["userId", "groupId"],
        texts: NONE,
        levels: NONE,
        switches: &["isAdmin"],
        times: NONE,
    },
];

const FOR_PAGES: &[Reads] = &[
    Reads {
        table: "pages",
        purpose: "apps, and the folder of each",
        keys: &["id", "organizationId", "folderId"],
        texts: &["name"],
        levels: NONE,
        switches: NONE,
        times: &["deletedAt"],
    },
    Reads {
        table: "group_pages",
        purpose: "which group has which level on an app",
        keys: &["groupId", "pageId"],
        texts: NONE,
        levels: &["accessLevel"],
        switches: NONE,
        times: NONE,
    },
    Reads {
        table: "group_folder_defaults",
        purpose: "which group has which level on the apps of a folder",
        keys: &["groupId", "folderId"],
        texts: NONE,
        levels: &["accessLevel"],
        switches: NONE,
        times: NONE,
    },
];

const FOR_RESOURCES: &[Reads] = &[
    Reads {
        table: "resources",
        purpose: "resources, and the folder of each; not their options, which hold credentials",
        keys: &["id", "organizationId", "resourceFolderId"],
        texts: &["name", "type", "displayName"],
        levels: NONE,
        switches: NONE,
        times: NONE,
    },
    Reads {
        table: "group_resources",
        purpose: "which group has which level on a resource",
        keys: &["groupId", "resourceId"],
        texts: NONE,
        levels: &["accessLevel"],
        switches: NONE,
        times: NONE,
    },
    Reads {
        table: "group_resource_folder_defaults",
        purpose: "which group has which level on the resources of a folder",
        keys: &["groupId", "resourceFolderId"],
        texts: NONE,
        levels: &["accessLevel"],
        switches: NONE,
        times: NONE,
    },
];

/// Every column that statements may use in `{alias:table.column}` (see
/// [`template`](crate::retool::template)).
pub(crate) const OPTIONAL: &[Optional] = &[
    Optional {
        column: Column { table: "groups", name: "archivedAt" },
        sort: Sort::Time,
        loss: "archived groups are reported with the access that they gave before they were archived",
        matters: true,
        extra: true,
    },
    Optional {
        column: Column { table: "group_resources", name: "resourceIdForEnv" },
        sort: Sort::Key,
        loss: "access to one environment of a resource is not reported",
        matters: true,
        extra: false,
    },
    Optional {
        column: Column { table: "users", name: "createdAt" },
        sort: Sort::Time,
        loss: "users have no creation time",
        matters: false,
        extra: true,
    },
    Optional {
        column: Column { table: "users", name: "userType" },
        sort: Sort::Text,
        loss: "users have no user_type",
        matters: false,
        extra: true,
    },
    Optional {
        column: Column { table: "users", name: "lastActive" },
        sort: Sort::Time,
        loss: "users have no last_active",
        matters: false,
        extra: true,
    },
    // No warning: a call that needs the column reports its absence. The Go connector reads it too.
    Optional {
        column: Column { table: "users", name: "sid" },
        sort: Sort::Text,
        loss: "accounts cannot be created, enabled or disabled",
        matters: false,
        extra: false,
    },
];

/// Columns that the Go connector reads and this program does not. They are granted so that an operator can
/// switch back.
pub(crate) const OF_GO_CONNECTOR: &[(&str, &[&str])] = &[
    ("users", &["profilePhotoUrl"]),
    ("user_groups", &["id"]),
    ("pages", &["description", "photoUrl"]),
    ("group_pages", &["id"]),
    ("group_folder_defaults", &["id"]),
    ("resources", &["environmentId"]),
    ("group_resources", &["id"]),
    ("group_resource_folder_defaults", &["id"]),
];

/// Additional tables that `doctor` inspects if they are readable.
pub(crate) const OF_DIAGNOSIS: &[&str] =
    &["SequelizeMeta", "access_control_lists", "access_control_list_members"];

/// Tables that only `doctor` reads.
pub(crate) const FOLDERS: &[Reads] = &[
    Reads {
        table: "folders",
        purpose: "whether apps are in subfolders",
        keys: &["id", "parentFolderId"],
        texts: NONE,
        levels: NONE,
        switches: NONE,
        times: NONE,
    },
    Reads {
        table: "resource_folders",
        purpose: "whether resources are in subfolders",
        keys: &["id", "parentFolderId"],
        texts: NONE,
        levels: NONE,
        switches: NONE,
        times: NONE,
    },
];

/// The audit log. `doctor` reads only the time of the last entry. Columns that are not listed here stay
/// unread: the metadata, which holds whole objects of Retool, and the user's IP address, browser and
/// location.
pub(crate) const AUDIT: &[Reads] = &[Reads {
    table: "audit_trail_events",
    purpose: "when Retool wrote its last entry, and about what",
    keys: &["id", "organizationId", "userId"],
    texts: &["actionType", "pageName", "resourceName"],
    switches: NONE,
    levels: NONE,
    times: &["createdAt"],
}];

impl Reads {
    /// The columns and their kinds of values, keys first.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (Column, Sort)> {
        let of = |names: &'static [&'static str], sort| {
            names.iter().map(move |name| (Column { table: self.table, name }, sort))
        };
        of(self.keys, Sort::Key)
            .chain(of(self.texts, Sort::Text))
            .chain(of(self.levels, Sort::Level))
            .chain(of(self.switches, Sort::Switch))
            .chain(of(self.times, Sort::Time))
    }
}

impl Scope {
    /// Whether the table is read.
    pub(crate) fn reads(self, table: &str) -> bool {
        reads_of(self).any(|reads| reads.table == table)
    }
}

impl Sort {
    /// The name of the kind, as the end of a sentence.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Key => "a whole number",
            Self::Text | Self::Level => "text",
            Self::Switch => "true or false",
            Self::Time => "a time",
        }
    }

    /// Whether the statements can read a column of this type as this kind of value. `type_name` is Postgres's
    /// name of the type.
    pub(crate) fn reads(self, type_name: &str, is_enum: bool) -> bool {
        let known: &[&str] = match self {
            Self::Key => &["int2", "int4", "int8"],
            Self::Text => &["text", "varchar", "bpchar", "citext", "name", "uuid"],
            Self::Level => &["text", "varchar", "bpchar", "citext", "name"],
            Self::Switch => &["bool"],
            Self::Time => &["timestamptz", "timestamp", "date"],
        };
        known.contains(&type_name) || (self == Self::Text && is_enum)
    }
}

/// The parts that `scope` includes.
pub(crate) fn parts_of(scope: Scope) -> impl Iterator<Item = &'static Part> {
    PARTS.iter().filter(move |part| (part.wanted)(scope))
}

/// The parts that `scope` leaves out.
pub(crate) fn parts_left_out(scope: Scope) -> impl Iterator<Item = &'static Part> {
    PARTS.iter().filter(move |part| !(part.wanted)(scope))
}

/// The tables and columns that are read for `scope`.
pub(crate) fn reads_of(scope: Scope) -> impl Iterator<Item = &'static Reads> {
    parts_of(scope).flat_map(|part| part.tables)
}

/// The columns that the Go connector reads and this program does not.
pub(crate) fn of_go_connector() -> impl Iterator<Item = Column> {
    OF_GO_CONNECTOR.iter().flat_map(|(table, names)| names.iter().map(|name| Column { table, name }))
}

/// The tables that only `doctor` reads.
pub(crate) fn tables_of_diagnosis() -> impl Iterator<Item = &'static str> {
    let read = FOLDERS.iter().chain(AUDIT).map(|reads| reads.table);
    read.chain(OF_DIAGNOSIS.iter().copied())
}
