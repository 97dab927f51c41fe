//! The config file: finding it, reading it, and telling what is wrong with it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use config::{ConfigError, File, FileFormat, Source, Value, ValueKind};

use crate::config::error::{Error, Origin, Warning};
use crate::config::layer::Layer;
use crate::config::names;
use crate::config::sources::Sources;
use crate::config::table;

/// The file that is read when none is named, and may be absent.
const USUAL_FILE: &str = ".baton.yaml";

/// Said where the parser's own words would quote the file or say nothing.
const NOT_SETTINGS: &str =
    "this is not a list of settings, one `name: value` (YAML) or `name = value` (TOML) on each line";

/// What the config file gives; nothing when there is no file.
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
    /// Somebody asked for this very file, so it has to be there.
    named: bool,
}

fn locate(sources: &Sources) -> Result<Found, Error> {
    let path = match sources.environment.get(names::CONFIG_PATH) {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => {
            let path = sources.working_directory.join(USUAL_FILE);
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

/// The file's text; `None` when it is absent and nobody asked for it.
fn read(found: &Found) -> Result<Option<String>, Error> {
    let bytes = match fs::read(&found.path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !found.named => return Ok(None),
        Err(error) => return Err(fault(&found.path, None, format!("cannot be read: {error}"))),
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        fault(&found.path, Some(line), "the text is not valid UTF-8".into())
    })?;
    // Editors on Windows begin a file with a byte order mark, which no parser takes for a name.
    Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
}

/// The file's keys and values.
fn parse(found: &Found, text: &str) -> Result<Vec<(String, Value)>, Error> {
    // Given as text, because the crate would try other extensions if it looked for the file itself.
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

/// Keeps what is a setting and warns of what is nothing.
fn sort(path: &Path, table: Vec<(String, Value)>, warnings: &mut Vec<Warning>) -> Result<Layer, Error> {
    let mut layer = Layer::default();
    for (key, value) in table {
        // The former program did not mind the case of a key.
        let known = table::every().find(|setting| setting.name.eq_ignore_ascii_case(&key));
        let Some(setting) = known else {
            if !names::is_former_key(&key) {
                warnings.push(unknown(path, &key));
            }
            continue;
        };
        // An empty value sets nothing. Of a setting that protects it is an error, which its reader says.
        if value.kind == ValueKind::Nil && !setting.protects {
            continue;
        }
        let origin = Origin::Key { key, file: path.to_owned() };
        if !layer.insert(setting.name, value.kind, origin) {
            return Err(fault(path, None, format!("the key {} is there twice", setting.name)));
        }
    }
    Ok(layer)
}

fn unknown(path: &Path, key: &str) -> Warning {
    // A secret in the wrong place can end up as a key; nothing that is not a plain name is repeated.
    let plain = key.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'));
    Warning::UnknownKey {
        key: plain.then(|| key.to_owned()),
        file: path.to_owned(),
        nearest: names::nearest_key(key),
    }
}

fn fault(path: &Path, line: Option<usize>, problem: String) -> Error {
    Error::File { path: path.to_owned(), line, problem }
}

/// The line a parser's message speaks of.
fn line_of(message: &str) -> Option<usize> {
    message.match_indices("line ").find_map(|(at, word)| {
        let rest = &message[at + word.len()..];
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    })
}

/// What a parser says is wrong, without what it quotes: a faulty line is often the one with the
/// password in it.
fn reason(message: &str) -> String {
    // YAML names the key that is there twice, whatever that key is.
    if message.contains("duplicated key") {
        return "a key is there twice".into();
    }
    // TOML prints the line and marks the place; the reason follows the mark.
    let mut lines = message.lines();
    if lines.any(|line| line.trim_start().starts_with('|') && line.contains('^')) {
        return lines.collect::<Vec<_>>().join("; ");
    }
    // YAML appends the place, which is shown before the reason already.
    match message.rsplit_once(" at byte ") {
        Some((reason, _)) => reason.to_owned(),
        None => NOT_SETTINGS.to_owned(),
    }
}
