//! The settings of the connection to ConductorOne and of the number of parallel tasks.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

/// The settings of service mode. `Debug` does not show the secret.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ServiceSettings {
    /// The id of the client; not validated.
    #[serde(rename = "client-id")]
    pub client_id: String,
    /// The private key of the client; not validated.
    #[serde(rename = "client-secret")]
    pub client_secret: SecretString,
    /// How many tasks may run at the same time.
    #[serde(rename = "task-concurrency")]
    pub task_concurrency: u32,
    /// Timeout of one token request; at most [`LONGEST_REQUEST`].
    #[serde(rename = "http-timeout-seconds", deserialize_with = "timeout")]
    pub timeout: Duration,
    /// Values that only the environment can set. The reader of the settings fills them in.
    #[serde(skip)]
    pub overrides: Overrides,
}

/// Values that only environment variables can set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// The host of the API, instead of the one in the client's id.
    pub api_host: Option<String>,
    /// The id of this installation in ConductorOne, instead of the host name of the machine. May be empty.
    pub host_id: Option<String>,
    /// Whether a poll requests several tasks.
    pub batch: bool,
}

/// Maximum timeout of one token request, regardless of the setting.
pub(crate) const LONGEST_REQUEST: Duration = Duration::from_secs(30);

impl ServiceSettings {
    /// The default of `--task-concurrency`.
    pub(crate) const TASK_CONCURRENCY: u32 = 3;
}

impl Overrides {
    /// The variable for the API host.
    pub(crate) const API_HOST: &str = "BATON_C1_API_HOST";
    /// The variable for the id of this installation.
    pub(crate) const HOST_ID: &str = "BATON_HOST_ID";
    /// The variable that enables requests for several tasks.
    pub(crate) const BATCH: &str = "BATON_GET_TASKS";

    /// Reads the variables through `get`, which returns the value of a variable that is set, even if it is
    /// empty.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            api_host: get(Self::API_HOST).filter(|host| !host.trim().is_empty()),
            host_id: get(Self::HOST_ID),
            // Any other value leaves it off, for compatibility.
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
    fn reads_the_settings_that_have_no_flag() {
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
