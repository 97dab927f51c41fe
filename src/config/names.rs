//! Distinguishes misspelled names of settings from names that belong to another program.

use std::ffi::OsStr;

use crate::config::error::{Misspelled, Warning};
use crate::config::setting::Setting;
use crate::config::table::{self, ALL};
use crate::nearest::nearest;

/// The variable with the path of the config file. It is not a setting, because it is needed to find the
/// settings.
pub(super) const CONFIG_PATH: &str = "BATON_CONFIG_PATH";

/// The prefix of all variables.
const PREFIX: &str = "BATON_";

/// How many letters any name may differ from a known one to be treated as a misspelling.
const LEAST_DISTANCE: usize = 2;

/// The prefix of a family of settings of the Go connector that have no meaning here. Existing files and
/// deployments may contain them, and a warning at every start would teach operators to ignore warnings.
const GO_CONNECTOR_PREFIX: &str = "invoke-resource-action";

/// Variables of the Go connector and of its parent process that were never settings. Some are still used.
/// All are accepted without a warning.
const GO_CONNECTOR_VARIABLES: &[&str] = &[
    "BATON_C1_API_HOST",
    "BATON_CONNECTOR_SERVICE_LISTENER_FD",
    "BATON_DECODER_MAX_DECODED_SIZE_MB",
    "BATON_DECODER_MAX_MEMORY_MB",
    "BATON_DISABLE_FCS_FAIL_FAST",
    "BATON_DISABLE_HTTP_CACHE",
    "BATON_DONT_FIX_CYCLES",
    "BATON_GET_TASKS",
    "BATON_GRAPH_EXPAND_MAX_DEPTH",
    "BATON_HOST_ID",
    "BATON_HTTP_CACHE_BACKEND",
    "BATON_HTTP_CACHE_MAX_SIZE",
    "BATON_HTTP_CACHE_TTL",
    "BATON_LAMBDA_CA_CERT_PATH",
    "BATON_LAMBDA_CONFIGURATION_HOST",
    "BATON_LAMBDA_TOKEN_HOST",
    "BATON_TMPDIR",
];

/// Whether the key is known from the Go connector, so that it is ignored without a warning.
pub(super) fn is_go_connector_key(key: &str) -> bool {
    key.to_ascii_lowercase().starts_with(GO_CONNECTOR_PREFIX)
}

/// The longest key that can be a misspelled name, in bytes.
const LONGEST_KEY: usize = 100;

/// An unknown key with the name that was probably meant; `None` if no name is close.
///
/// A secret can become a key by mistake, so messages repeat only a key that is close to a name.
pub(super) fn misspelled(key: &str) -> Option<Misspelled> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    if key.len() > LONGEST_KEY || !key.chars().all(is_plain) {
        return None;
    }
    let lower = key.to_ascii_lowercase();
    let known = ALL.iter().filter(|setting| !setting.hidden).map(|setting| setting.name);
    let meant = nearest(&lower, known, |_| distance(&lower))?;
    Some(Misspelled { given: key.to_owned(), meant })
}

/// How many letters this name may differ from a known one. A third of the letters: enough for
/// `skip_disabled_users` or a missing ending, but not enough to suggest a name for every key.
fn distance(name: &str) -> usize {
    (name.chars().count() / 3).max(LEAST_DISTANCE)
}

/// The warning about a variable that has no effect, with the name that was probably meant; `None` for a
/// variable of another program, and for one that is known here or was known to the Go connector.
pub(super) fn unknown_variable(name: &str, value: &OsStr) -> Option<Warning> {
    let rest = name.strip_prefix(PREFIX)?;
    let known: Vec<String> = table::every().map(Setting::variable).collect();
    let known: Vec<&str> = known
        .iter()
        .map(String::as_str)
        .chain([CONFIG_PATH])
        .chain(GO_CONNECTOR_VARIABLES.iter().copied())
        .filter_map(|known| known.strip_prefix(PREFIX))
        .collect();
    let is_go_connectors = is_go_connector_key(&rest.to_ascii_lowercase().replace('_', "-"));
    if known.contains(&rest) || is_go_connectors {
        return None;
    }
    let misspelled = || nearest(rest, known.iter().copied(), |_| LEAST_DISTANCE);
    let similar = || nearest(rest, known.iter().copied(), |_| distance(rest));
    let found = match misspelled() {
        None if is_service_link(rest, value) => return None,
        None => similar().or_else(|| with_other_words(rest, &known)),
        found => found,
    };
    Some(Warning::UnknownVariable {
        name: name.to_owned(),
        nearest: found.map(|known| format!("{PREFIX}{known}")),
    })
}

/// The closest known name that contains all words of this name in order, or whose words are all contained in
/// this name in order. The shorter of the two names must have at least two words.
fn with_other_words<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let given: Vec<&str> = name.split('_').collect();
    let more = |known: &&'a str| {
        let words: Vec<&str> = known.split('_').collect();
        let (short, long) = if words.len() < given.len() { (&words, &given) } else { (&given, &words) };
        let mut rest = long.iter();
        let is_part = short.len() > 1 && short.iter().all(|word| rest.any(|other| other == word));
        is_part.then(|| (long.len() - short.len(), *known))
    };
    known.iter().filter_map(more).min_by_key(|(more, _)| *more).map(|(_, known)| known)
}

/// Whether Kubernetes has set the variable for a Service whose name begins with `baton`: each container of
/// the namespace gets such variables.
fn is_service_link(rest: &str, value: &OsStr) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let is_address = value.to_str().is_some_and(|value| value.contains("://"));
    let words: Vec<&str> = rest.split('_').collect();
    let is_number = |word: &str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_digit());
    words.windows(2).any(|pair| matches!(pair, ["SERVICE", "HOST" | "PORT"]))
        || (is_address && words.last() == Some(&"PORT"))
        || words.windows(3).any(|part| match part {
            ["PORT", number, protocol] => is_number(number) && PROTOCOLS.contains(protocol),
            _ => false,
        })
}
