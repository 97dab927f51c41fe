//! Tells a misspelt name of a setting from a name that belongs to another program.

use crate::config::setting::Setting;
use crate::config::table::ALL;
use crate::nearest::nearest;

/// The variable that names the config file. Not a setting: it is needed to find them.
pub(super) const CONFIG_PATH: &str = "BATON_CONFIG_PATH";

/// How many letters a variable may be off and still be taken for a misspelling. Low, because other
/// programs have `BATON_` variables too.
const VARIABLE_DISTANCE: usize = 2;

/// Settings of the program this one replaces that mean nothing here. Existing files and
/// deployments carry them, and a warning at every start would teach people to ignore warnings.
const FORMER: &[&str] = &[
    "applied-sync-id",
    "auth-method",
    "base-sync-id",
    "bulk-create-ticket",
    "bulk-ticket-template-path",
    "compact-file-paths",
    "compact-output-path",
    "compact-sync-ids",
    "compact-syncs",
    "create-account-email",
    "create-account-login",
    "create-account-profile",
    "create-account-resource-type",
    "create-ticket",
    "delete-resource",
    "delete-resource-type",
    "diff-syncs",
    "event-feed",
    "event-feed-cursor",
    "event-feed-id",
    "event-feed-start-at",
    "get-ticket",
    "grant-entitlement",
    "grant-principal",
    "grant-principal-type",
    "invoke-action",
    "invoke-action-args",
    "invoke-action-resource-type",
    "list-action-schemas",
    "list-action-schemas-resource-type",
    "list-resource-actions",
    "list-ticket-schemas",
    "log-level-debug-expires-at",
    "revoke-grant",
    "rotate-credentials",
    "rotate-credentials-type",
    "session-store-maximum-size",
    "ticket-id",
    "ticket-template-path",
];

/// How a whole family of former settings begins.
const FORMER_PREFIX: &str = "invoke-resource-action";

/// Variables of the former program, and of its parent process, that were never settings. Some still count.
const FORMER_VARIABLES: &[&str] = &[
    "BATON_C1_API_HOST",
    "BATON_CONNECTOR_SERVICE_LISTENER_FD",
    "BATON_DISABLE_HTTP_CACHE",
    "BATON_GET_TASKS",
    "BATON_HOST_ID",
    "BATON_HTTP_CACHE_BACKEND",
    "BATON_HTTP_CACHE_MAX_SIZE",
    "BATON_HTTP_CACHE_TTL",
    "BATON_LAMBDA_CA_CERT_PATH",
    "BATON_LAMBDA_CONFIGURATION_HOST",
    "BATON_LAMBDA_TOKEN_HOST",
    "BATON_TMPDIR",
];

/// Whether the former program knew this key, so that it is passed over in silence.
pub(super) fn is_former_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.starts_with(FORMER_PREFIX) || FORMER.contains(&key.as_str())
}

/// The setting whose name is closest to an unknown key; `None` when nothing is close.
pub(super) fn nearest_key(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    // A third of the letters: enough for `skip_disabled_users` or a forgotten word's ending, not
    // enough to answer every key with some name.
    let limit = (key.chars().count() / 3).max(VARIABLE_DISTANCE);
    let known = ALL.iter().filter(|setting| !setting.hidden).map(|setting| setting.name);
    nearest(&key, known, |_| limit)
}

/// The variable that an unknown `BATON_` name was probably meant to be; `None` when the name is known
/// here, was known to the former program, or is not close to any.
pub(super) fn nearest_variable(name: &str) -> Option<String> {
    let key = name.strip_prefix("BATON_")?.to_ascii_lowercase().replace('_', "-");
    if FORMER_VARIABLES.contains(&name) || is_former_key(&key) {
        return None;
    }
    let known: Vec<_> = ALL.iter().map(Setting::variable).chain([CONFIG_PATH.to_owned()]).collect();
    let nearest = nearest(name, known.iter().map(String::as_str), |_| VARIABLE_DISTANCE)?;
    (nearest != name).then(|| nearest.to_owned())
}
