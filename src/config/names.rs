//! Tells a misspelt name of a setting from a name that belongs to another program.

use crate::config::setting::Setting;
use crate::config::table::ALL;
use crate::nearest::nearest;

/// The variable that names the config file. Not a setting: it is needed to find them.
pub(super) const CONFIG_PATH: &str = "BATON_CONFIG_PATH";

/// How many letters a variable may be off and still be taken for a misspelling. Low, because other
/// programs have `BATON_` variables too.
const VARIABLE_DISTANCE: usize = 2;

/// How a family of settings of the former program begins that mean nothing here. Existing files and deployments may
/// carry them, and a warning at every start would teach people to ignore warnings.
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
    key.to_ascii_lowercase().starts_with(FORMER_PREFIX)
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
