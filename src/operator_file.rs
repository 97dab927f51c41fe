//! Files that the settings name: read up to a limit, and named in messages only if the text is a path.
//!
//! A path can name an endless device such as `/dev/zero`, and an operator can set a secret in place of a
//! path. All modules read and name such files through this module.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The most bytes that are read from a file. Bundles of all public certificate authorities have some 300 KiB.
pub(crate) const LARGEST: usize = 4 * 1024 * 1024;
/// The text instead of a path that may be a secret.
const WITHHELD: &str = "[path withheld, it may be a secret]";
/// Endings of the names of files that settings name. A name without a folder needs one of them, because many
/// secrets contain a dot.
const ENDINGS: [&str; 37] = [
    "asc", "bundle", "c1z", "ca", "cer", "cert", "cfg", "cnf", "conf", "config", "crt", "csr", "der", "env",
    "ini", "jks", "json", "jwk", "jwks", "jwt", "key", "log", "p12", "p7b", "p8", "passwd", "password",
    "pem", "pfx", "pgpass", "secret", "sock", "token", "toml", "txt", "yaml", "yml",
];

/// Reads a file of at most [`LARGEST`] bytes. It can be a pipe, such as the output of another program.
///
/// # Errors
/// The file cannot be read, or it has more bytes.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // The length is a hint only: it is 0 for devices, pipes and files of the kernel.
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(LARGEST).min(LARGEST) + 1);
    file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > LARGEST {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has more than {} MiB", LARGEST / 1024 / 1024),
        ));
    }
    Ok(bytes)
}

/// Like [`read`], for a file that holds UTF-8 text.
///
/// # Errors
/// Those of [`read`], and the file is not UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not valid UTF-8 text"))
}

/// The path for a message. Text that may be a secret in the wrong setting instead of a path is not shown.
pub(crate) fn shown(path: &Path) -> impl fmt::Display {
    if is_path(path) { path.display().to_string() } else { WITHHELD.to_owned() }
}

/// Whether the text is a path and not a secret: the file or one of its parent folders exists, or the text has
/// a form that secrets do not have. The root folder does not count, because it is a parent of every absolute
/// path.
fn is_path(path: &Path) -> bool {
    let exists = |path: &Path| path.symlink_metadata().is_ok();
    let is_plain = !path.to_string_lossy().contains(|letter: char| letter.is_control());
    let mut folders = path.ancestors().skip(1).filter(|folder| folder.parent().is_some());
    let has_form = |text: &str| is_for_a_shell(text) || has_ending(text) || is_usual(text);
    is_plain && (exists(path) || path.to_str().is_some_and(has_form) || folders.any(exists))
}

/// Whether the path begins with a placeholder that only a shell replaces: `~/key`, `$HOME/key`, `${HOME}/key`. It is
/// then a mistake that the message has to show.
fn is_for_a_shell(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        !name.is_empty() && name.bytes().all(is_plain)
    };
    let is_variable = |start: &str| {
        let name = start.strip_prefix('$').unwrap_or_default();
        is_name(name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name))
    };
    let is_start = |start: &str| start == "~" || is_variable(start);
    text.split_once('/').is_some_and(|(start, rest)| is_start(start) && is_simple(rest))
}

/// Whether the path has a folder and consists of short names in lower case, as in `/etc/tls/key`. Encoded secrets
/// have letters of both cases or no slash. A relative path also needs an ending, as in `tls/key.pub`.
fn is_usual(text: &str) -> bool {
    let is_short = |name: &str| {
        let is_plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
        };
        (1..=32).contains(&name.len()) && name.bytes().all(is_plain)
    };
    let has_any_ending = || {
        let ending = text.rsplit_once('.').map_or("", |(_, ending)| ending);
        ending.len() <= 8
            && ending.starts_with(|first: char| first.is_ascii_lowercase())
            && !ending.contains('/')
    };
    let (names, is_complete) = match text.strip_prefix('/') {
        Some(names) => (names, true),
        None => (text, has_any_ending()),
    };
    is_complete && names.contains('/') && names.split('/').all(is_short)
}

/// Whether the name of the file has a known ending. The ending of `.env` is `env`.
fn has_ending(text: &str) -> bool {
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    is_simple(text) && ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

fn is_simple(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn reads_no_more_than_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (length, is_read) in [(0, true), (LARGEST, true), (LARGEST + 1, false)] {
            fs::write(&path, vec![b'x'; length]).unwrap();
            assert_eq!(read(&path).map(|bytes| bytes.len()).ok(), is_read.then_some(length));
        }
        assert_eq!(read(Path::new("/dev/zero")).unwrap_err().to_string(), "it has more than 4 MiB");
        // Files of the kernel have no length.
        assert!(!read_text(Path::new("/proc/self/status")).unwrap().is_empty());
        fs::write(&path, [b'a', 0xff]).unwrap();
        assert_eq!(read_text(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_text_that_may_be_a_secret_is_withheld() {
        for secret in [
            "hunter2",
            "correct-horse-battery",
            "/k3jQz+8y/AbC==",
            "/hunter2",
            "/hunter2/",
            "/hunter2:x/y",
            "k3jQz/8y",
            "eyJhbGciOi.eyJzdWIi.c2ln",
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQ/YDK2VwBCIEI\n-----END PRIVATE KEY-----\n",
            "u:hunter2@h/db.pem",
            "a b.pem",
            "",
            "~",
            "~hunter2",
            "~/k3jQz+8y==",
            "~hunter2/y",
            "$/hunter2",
            "$hunter2/y",
            "$HUNTER2",
            "${}/hunter2",
            "${HUNTER2/y",
            "hunter2.correct",
            "hunter2/horse",
            "hunter2/x.",
            "K3jQz/8y.abc",
            "xoxb-1.secret-2",
            "sk_live_51H.x",
            ".hunter2",
            "token",
        ] {
            assert_eq!(shown(Path::new(secret)).to_string(), WITHHELD, "{secret}");
        }
    }

    #[test]
    fn a_path_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (file, line_end) = (folder.path().join("tokens"), folder.path().join("a\nb"));
        fs::write(&line_end, "").unwrap();
        assert_eq!(shown(&line_end).to_string(), WITHHELD);
        for path in [
            file.to_str().unwrap(),
            "/etc/no/such",
            "tls.crt",
            "/gone/Tls.PEM",
            "/gone/tls/key-1",
            "./x",
            "../x",
            "/dev/zero",
            "~/retool.token",
            "~/Keys/retool",
            "$HOME/retool",
            "$HOME_2/x/y",
            "${XDG_CONFIG_HOME}/baton/Tokens",
            ".env",
            "prod.env",
            ".pgpass",
            "retool.token",
            "Retool.P12",
            "/client.pfx",
            "certs/retool.pub",
            "certs/.retool.bak",
        ] {
            assert_eq!(shown(Path::new(path)).to_string(), path);
        }
    }
}
