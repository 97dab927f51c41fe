//! The config file: finds it, reads it, and describes errors in it.

use std::io;
use std::path::{Path, PathBuf};

use config::{ConfigError, File, FileFormat, Source, Value, ValueKind};

use crate::config::error::{Error, Origin, Warning};
use crate::config::layer::Layer;
use crate::config::names;
use crate::config::sources::Sources;
use crate::config::table;
use crate::operator_file;

/// The default file, which may be missing.
const DEFAULT_FILE: &str = ".baton.yaml";

/// The message if the parser's own message would quote the file or contains no information.
const NOT_SETTINGS: &str =
    "this is not a list of settings, one `name: value` (YAML) or `name = value` (TOML) on each line";

/// The values of the config file; empty if there is no file.
///
/// # Errors
/// [`Error::FileFormat`] and [`Error::File`].
pub(super) fn layer(sources: &Sources, warnings: &mut Vec<Warning>) -> Result<Layer, Error> {
    let found = locate(sources)?;
    let Some(text) = read(&found)? else { return Ok(Layer::default()) };
    let table = parse(&found, &text)?;
    sort(&found.path, table, warnings)
}

/// A file to read.
struct Found {
    path: PathBuf,
    format: FileFormat,
    /// Whether the file was named explicitly, so that it must exist.
    named: bool,
}

fn locate(sources: &Sources) -> Result<Found, Error> {
    let path = match sources.environment.get(names::CONFIG_PATH) {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => {
            let path = sources.working_directory.join(DEFAULT_FILE);
            return Ok(Found { path, format: FileFormat::Yaml, named: false });
        }
    };
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let format = match extension.as_deref() {
        Some("yaml" | "yml") => FileFormat::Yaml,
        Some("toml") => FileFormat::Toml,
        _ => return Err(Error::FileFormat { path }),
    };
    Ok(Found { path: sources.working_directory.join(path), format, named: true })
}

/// The file's text; `None` if it is missing and was not named explicitly.
fn read(found: &Found) -> Result<Option<String>, Error> {
    let bytes = match operator_file::read(&found.path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !found.named => return Ok(None),
        Err(error) => return Err(fault(&found.path, None, format!("cannot be read: {error}"))),
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        fault(&found.path, Some(line), "the text is not valid UTF-8".into())
    })?;
    // Editors on Windows put a byte order mark at the start of a file, which no parser accepts in a name.
    Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
}

/// Parses the keys and values of the file.
fn parse(found: &Found, text: &str) -> Result<Vec<(String, Value)>, Error> {
    // The text is passed to the crate, because it would try other extensions if it opened the file itself.
    let source = File::from_str(text, found.format);
    match source.collect() {
        Ok(table) => {
            let mut table: Vec<_> = table.into_iter().collect();
            table.sort_by(|(left, _), (right, _)| left.cmp(right));
            Ok(table)
        }
        Err(ConfigError::FileParse { cause, .. }) => {
            let message = cause.to_string();
            Err(match line_of(&message) {
                Some(line) => fault(&found.path, Some(line), reason(&message)),
                None => fault(&found.path, None, NOT_SETTINGS.into()),
            })
        }
        Err(_) => Err(fault(&found.path, None, NOT_SETTINGS.into())),
    }
}

/// Keeps known settings and warns about unknown keys.
fn sort(path: &Path, table: Vec<(String, Value)>, warnings: &mut Vec<Warning>) -> Result<Layer, Error> {
    let mut layer = Layer::default();
    for (key, value) in table {
        // The Go connector ignored the case of keys.
        let known = table::every().find(|setting| setting.name.eq_ignore_ascii_case(&key));
        let Some(setting) = known else {
            if !names::is_go_connector_key(&key) {
                warnings.push(unknown(path, &key));
            }
            continue;
        };
        // An empty value sets nothing. For a protecting setting it is an error, which its reader reports.
        if value.kind == ValueKind::Nil && !setting.protects {
            continue;
        }
        let origin = Origin::Key { key, file: path.to_owned() };
        if !layer.insert(setting.name, value.kind, origin) {
            return Err(fault(path, None, format!("the key {} is set twice", setting.name)));
        }
    }
    Ok(layer)
}

fn unknown(path: &Path, key: &str) -> Warning {
    Warning::UnknownKey { key: names::misspelled(key), file: path.to_owned() }
}

fn fault(path: &Path, line: Option<usize>, problem: String) -> Error {
    Error::File { path: path.to_owned(), line, problem }
}

/// The line number in a parser's message.
fn line_of(message: &str) -> Option<usize> {
    message.match_indices("line ").find_map(|(at, word)| {
        let rest = &message[at + word.len()..];
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    })
}

/// The reason in a parser's message, without quoted text: an invalid line often contains the password.
fn reason(message: &str) -> String {
    // The YAML message contains the duplicate key, which can be any text.
    if message.contains("duplicated key") {
        return "a key is set twice".into();
    }
    // TOML prints the line and marks the position; the reason follows the mark.
    let mut lines = message.lines();
    if lines.any(|line| line.trim_start().starts_with('|') && line.contains('^')) {
        return lines.collect::<Vec<_>>().join("; ");
    }
    // YAML appends the position, which is already shown before the reason.
    match message.rsplit_once(" at byte ") {
        Some((reason, _)) => reason.to_owned(),
        None => NOT_SETTINGS.to_owned(),
    }
}
