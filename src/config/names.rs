//! Distinguishes misspelt names of settings from names that belong to another program.

use crate::config::setting::Setting;
use crate::config::table::ALL;
use crate::nearest::nearest;

/// The variable with the path of the config file. It is not a setting, because it is needed to find the
/// settings.
pub(super) const CONFIG_PATH: &str = "BATON_CONFIG_PATH";

/// How many letters a variable may differ from a known name to be treated as a misspelling. The number is
/// low, because other programs also have `BATON_` variables.
const VARIABLE_DISTANCE: usize = 2;

/// The prefix of a family of former settings that have no meaning here. Existing files and deployments may
/// contain them, and a warning at every start would teach operators to ignore warnings.
const FORMER_PREFIX: &str = "invoke-resource-action";

/// Variables of the former program and of its parent process that were never settings. Some are still used.
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

/// Whether the key is known from the former program, so that it is ignored without a warning.
pub(super) fn is_former_key(key: &str) -> bool {
    key.to_ascii_lowercase().starts_with(FORMER_PREFIX)
}

/// The setting whose name is closest to an unknown key; `None` if none is close.
pub(super) fn nearest_key(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    // A third of the letters: enough for `skip_disabled_users` or a missing ending, but not enough to suggest
    // a name for every key.
    let limit = (key.chars().count() / 3).max(VARIABLE_DISTANCE);
    let known = ALL.iter().filter(|setting| !setting.hidden).map(|setting| setting.name);
    nearest(&key, known, |_| limit)
}

/// The variable that an unknown `BATON_` name probably stands for; `None` if the name is known here, was
/// known to the former program, or is not close to any.
pub(super) fn nearest_variable(name: &str) -> Option<String> {
    let key = name.strip_prefix("BATON_")?.to_ascii_lowercase().replace('_', "-");
    if FORMER_VARIABLES.contains(&name) || is_former_key(&key) {
        return None;
    }
    let known: Vec<_> = ALL.iter().map(Setting::variable).chain([CONFIG_PATH.to_owned()]).collect();
    let nearest = nearest(name, known.iter().map(String::as_str), |_| VARIABLE_DISTANCE)?;
    (nearest != name).then(|| nearest.to_owned())
}
