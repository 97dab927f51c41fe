//! Logging.

use crate::config::error::{Error, Warning};
use crate::config::layers::{Layers, Text};
use crate::config::setting::Setting;
use crate::config::table::{LOG_FORMAT, LOG_LEVEL, LOG_PATH};
use crate::config::values::{LogFormat, LogLevel, LogTarget};

/// What is logged, in which shape, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severity.
    pub level: LogLevel,
    /// The shape of a line.
    pub format: LogFormat,
    /// Every place that gets each line: at least one, and none twice. A child process logs on standard
    /// error whatever this says, because its parent reads there (child-process.md 14).
    pub paths: Vec<LogTarget>,
}

impl LogSettings {
    /// An unknown word never stops the program, as it did not stop the former one; it is warned of.
    pub(in crate::config) fn read(
        layers: &Layers,
        stdout_is_terminal: bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Error> {
        let level = match layers.text(&LOG_LEVEL)? {
            None => LogLevel::Info,
            Some(text) => LogLevel::parse(&text.value).unwrap_or_else(|| {
                warnings.push(unknown_word(&LOG_LEVEL, text, "info"));
                LogLevel::Info
            }),
        };
        let format = match layers.text(&LOG_FORMAT)? {
            None if stdout_is_terminal => LogFormat::Console,
            None => LogFormat::Json,
            Some(text) => LogFormat::parse(&text.value).unwrap_or_else(|| {
                warnings.push(unknown_word(&LOG_FORMAT, text, "json"));
                LogFormat::Json
            }),
        };
        Ok(Self { level, format, paths: paths(layers)? })
    }
}

fn paths(layers: &Layers) -> Result<Vec<LogTarget>, Error> {
    let mut paths = Vec::new();
    for text in layers.texts(&LOG_PATH)? {
        let target = LogTarget::parse(&text);
        if !paths.contains(&target) {
            paths.push(target);
        }
    }
    Ok(paths)
}

fn unknown_word(setting: &Setting, text: Text, used: &'static str) -> Warning {
    Warning::UnknownWord {
        name: setting.name,
        origin: text.origin,
        word: text.value,
        used,
        accepted: setting.kind.accepted(),
    }
}
