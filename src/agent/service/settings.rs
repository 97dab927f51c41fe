//! How to reach ConductorOne, and how much to do at a time.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

/// How to reach ConductorOne, and how much to do at a time. `Debug` does not show the secret.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ServiceSettings {
    /// Which client of ConductorOne this is; unchecked.
    #[serde(rename = "client-id")]
    pub client_id: String,
    /// The private key of the client; unchecked.
    #[serde(rename = "client-secret")]
    pub client_secret: SecretString,
    /// How many tasks may be under way at a time.
    #[serde(rename = "task-concurrency")]
    pub task_concurrency: u32,
    /// Longest time that one request for a token may take; at most [`LONGEST_REQUEST`].
    #[serde(rename = "http-timeout-seconds", deserialize_with = "timeout")]
    pub timeout: Duration,
    /// What the environment alone can say. For the reader of the settings to fill in.
    #[serde(skip)]
    pub overrides: Overrides,
}

/// What only variables can say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// Where the API answers, in place of the host in the client's id.
    pub api_host: Option<String>,
    /// What ConductorOne knows this installation by, in place of the name of the machine. May be empty.
    pub host_id: Option<String>,
    /// Whether several tasks are asked for at a time.
    pub batch: bool,
}

/// Longest time that one request for a token may take, whatever the setting says.
pub(crate) const LONGEST_REQUEST: Duration = Duration::from_secs(30);

impl ServiceSettings {
    /// The default of `--task-concurrency`.
    pub(crate) const TASK_CONCURRENCY: u32 = 3;
}

impl Overrides {
    /// The variable that names the API.
    pub(crate) const API_HOST: &str = "BATON_C1_API_HOST";
    /// The variable that names this installation.
    pub(crate) const HOST_ID: &str = "BATON_HOST_ID";
    /// The variable that asks for several tasks at a time.
    pub(crate) const BATCH: &str = "BATON_GET_TASKS";

    /// Reads the variables through `get`, which gives the value of a variable that is set, even to nothing.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            api_host: get(Self::API_HOST).filter(|host| !host.trim().is_empty()),
            host_id: get(Self::HOST_ID),
            // Any other word leaves it off, as it always did.
            batch: get(Self::BATCH)
                .is_some_and(|word| matches!(word.as_str(), "1" | "t" | "T" | "true" | "True" | "TRUE")),
        }
    }
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    Ok(Duration::from_secs(seconds).min(LONGEST_REQUEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_say_what_has_no_flag() {
        let read = |name: &'static str, value: &'static str| {
            Overrides::read(|asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(Overrides::read(|_| None), Overrides::default());
        assert_eq!(read(Overrides::HOST_ID, "").host_id.as_deref(), Some(""));
        assert_eq!(read(Overrides::API_HOST, "h:1").api_host.as_deref(), Some("h:1"));
        assert_eq!(read(Overrides::API_HOST, " ").api_host, None);
        for (word, batch) in [("1", true), ("True", true), ("yes", false), ("2", false), ("0", false)] {
            assert_eq!(read(Overrides::BATCH, word).batch, batch, "{word}");
        }
    }
}
