//! The declaration of the settings that request one change or one query instead of a sync.

use crate::config::declaration::{refused, switch, text};
use crate::config::setting::{Group, Kind, Relation, Setting};

/// The settings of a one-shot change. Only one of those in [`VERBS`] may be set.
pub(super) const ONE_SHOT: &[Setting] = &[
    needing(
        "grant-principal",
        value("grant-entitlement", "ID", "Grant this entitlement, such as group:g7:member"),
    ),
    needing(
        "grant-principal-type",
        value("grant-principal", "ID", "Principal of the grant, such as u5; requires grant-entitlement"),
    ),
    needing(
        "grant-entitlement",
        Setting {
            suggested: &["user", "group"],
            ..value("grant-principal-type", "TYPE", "The resource type of the principal: user or group")
        },
    ),
    value("revoke-grant", "ID", "Revoke this grant, such as group:g7:member:user:u5"),
    personal(value("create-account-login", "LOGIN", "Create an account with this login")),
    personal(value("create-account-email", "ADDRESS", "Create an account with this e-mail address")),
    personal(json(
        "create-account-profile",
        "Create an account with this profile: email, first_name, last_name and, optionally, user_type",
    )),
    Setting {
        suggested: &["user"],
        ..value("create-account-resource-type", "TYPE", "The resource type of the new account: user")
    },
    Setting {
        suggested: &["enable_user", "disable_user"],
        ..value("invoke-action", "NAME", "Run this action: enable_user or disable_user")
    },
    needing(
        "invoke-action",
        personal(json(
            "invoke-action-args",
            r#"Arguments of the action, such as {"user_id": {"resource_type_id": "user", "resource_id": "u5"}}"#,
        )),
    ),
    needing(
        "invoke-action",
        value("invoke-action-resource-type", "TYPE", "The resource type that the action belongs to"),
    ),
    question("list-action-schemas", "Print the actions that can be run, with their arguments"),
    needing(
        "list-action-schemas",
        value("list-action-schemas-resource-type", "TYPE", "Print only actions of this resource type"),
    ),
    needing(
        "delete-resource-type",
        value(
            "delete-resource",
            "ID",
            "Delete this resource; always refused, because nothing in Retool can be deleted",
        ),
    ),
    needing(
        "delete-resource",
        value("delete-resource-type", "TYPE", "Resource type of the resource to delete"),
    ),
    needing(
        "rotate-credentials-type",
        value(
            "rotate-credentials",
            "ID",
            "Rotate the credentials of this resource; always refused, because Retool has none",
        ),
    ),
    needing(
        "rotate-credentials",
        value("rotate-credentials-type", "TYPE", "Resource type of the resource whose credentials to rotate"),
    ),
    question("event-feed", "Print the events of a feed; always refused, because Retool has none"),
    needing("event-feed", value("event-feed-id", "ID", "Id of the event feed")),
    needing(
        "event-feed",
        Setting {
            kind: Kind::Time,
            ..value("event-feed-start-at", "TIME", "Time of the first event; one day ago by default")
        },
    ),
    needing("event-feed", value("event-feed-cursor", "CURSOR", "Cursor to continue from")),
    question("list-ticket-schemas", "Print the kinds of tickets; always refused, because Retool has none"),
    needing(
        "ticket-template-path",
        question("create-ticket", "Create a ticket; always refused, because Retool has none"),
    ),
    needing("create-ticket", template("ticket-template-path", "JSON file with the ticket")),
    needing(
        "bulk-ticket-template-path",
        question("bulk-create-ticket", "Create several tickets; always refused, because Retool has none"),
    ),
    needing("bulk-create-ticket", template("bulk-ticket-template-path", "JSON file with the tickets")),
    needing("ticket-id", question("get-ticket", "Print a ticket; always refused, because Retool has none")),
    needing("get-ticket", value("ticket-id", "ID", "Id of the ticket")),
    refused("list-resource-actions", OF_A_TYPE),
    refused("invoke-resource-action", OF_A_TYPE),
    refused("invoke-resource-action-args", OF_A_TYPE),
    refused("invoke-resource-action-type", OF_A_TYPE),
    refused("diff-syncs", COMPARED),
    refused("base-sync-id", COMPARED),
    refused("applied-sync-id", COMPARED),
    refused("compact-syncs", COMPACTED),
    refused("compact-sync-ids", COMPACTED),
    refused("compact-file-paths", COMPACTED),
    refused("compact-output-path", COMPACTED),
    refused("log-event-log", "the event log exists only on Windows, which is not supported; use --log-path"),
];

/// The settings that request a change or a query, in the order in which errors name them. Settings that
/// together request one account are in one group.
pub(super) const VERBS: &[&[&str]] = &[
    &["grant-entitlement"],
    &["revoke-grant"],
    &[
        "create-account-login",
        "create-account-email",
        "create-account-profile",
        "create-account-resource-type",
    ],
    &["invoke-action"],
    &["list-action-schemas"],
    &["delete-resource"],
    &["rotate-credentials"],
    &["event-feed"],
    &["list-ticket-schemas"],
    &["create-ticket"],
    &["bulk-create-ticket"],
    &["get-ticket"],
];

const OF_A_TYPE: &str =
    "Retool has no actions of a resource type; use --list-action-schemas and --invoke-action";
const COMPARED: &str = "this program does not compare syncs; use `baton diff`";
const COMPACTED: &str =
    "this program does not merge syncs; each file is complete, and --keep-sync-count limits the syncs in it";

const fn value(name: &'static str, value_name: &'static str, help: &'static str) -> Setting {
    Setting { value_name, ..text(name, Group::Change, help) }
}

const fn question(name: &'static str, help: &'static str) -> Setting {
    switch(name, Group::Change, false, help)
}

const fn json(name: &'static str, help: &'static str) -> Setting {
    Setting { kind: Kind::Json, ..value(name, "JSON", help) }
}

const fn template(name: &'static str, help: &'static str) -> Setting {
    Setting { kind: Kind::Path, ..value(name, "FILE", help) }
}

/// A setting with personal data, which is not shown.
const fn personal(setting: Setting) -> Setting {
    Setting { secret: true, ..setting }
}

const fn needing(other: &'static str, setting: Setting) -> Setting {
    Setting { relation: Some(Relation::Needs(other)), ..setting }
}
