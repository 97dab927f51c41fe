//! The password file, `~/.pgpass`, with lines of `host:port:database:user:password`.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use secrecy::SecretString;

use crate::operator_file::{self, shown};

/// The entries of a password file, in order. The first matching entry counts.
#[derive(Default)]
pub(crate) struct PasswordFile(Vec<Entry>);

struct Entry {
    /// Host, port, database and user.
    patterns: [Pattern; 4],
    password: SecretString,
}

enum Pattern {
    Any,
    Exactly(String),
}

impl PasswordFile {
    /// Reads the file.
    ///
    /// As with libpq, an unusable file is not an error, because the server may not require a password.
    /// Problems are added to `warnings`. A missing file is reported only if its path was set explicitly
    /// (`named`).
    pub(crate) fn read(path: &Path, named: bool, warnings: &mut Vec<String>) -> Self {
        let contents = fs::metadata(path).and_then(|metadata| {
            let problem = if !metadata.is_file() {
                Some("is not a plain file")
            } else if metadata.permissions().mode() & 0o077 != 0 {
                Some("can be read or written by users other than its owner; run chmod 600 on it")
            } else {
                None
            };
            match problem {
                Some(problem) => {
                    warnings.push(format!("the password file {} is ignored: it {problem}", shown(path)));
                    Ok(String::new())
                }
                None => operator_file::read_text(path),
            }
        });
        match contents {
            Ok(contents) => Self::parse(&contents),
            Err(error) => {
                if named || error.kind() != std::io::ErrorKind::NotFound {
                    warnings.push(format!("the password file {} is ignored: {error}", shown(path)));
                }
                Self::default()
            }
        }
    }

    /// The password for a connection. A host may have several names.
    pub(crate) fn password(
        &self,
        hosts: &[&str],
        port: u16,
        database: &str,
        user: &str,
    ) -> Option<SecretString> {
        let port = port.to_string();
        let fits = |entry: &&Entry| {
            let [host_pattern, port_pattern, database_pattern, user_pattern] = &entry.patterns;
            hosts.iter().any(|host| host_pattern.fits(host))
                && port_pattern.fits(&port)
                && database_pattern.fits(database)
                && user_pattern.fits(user)
        };
        self.0.iter().find(fits).map(|entry| entry.password.clone())
    }

    /// Parses the lines. Comments and lines without five fields are skipped.
    fn parse(contents: &str) -> Self {
        Self(contents.lines().filter(|line| !line.starts_with('#')).filter_map(Entry::parse).collect())
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let mut rest = line;
        let mut field = || {
            let (field, after) = rest.split_at(field_end(rest)?);
            rest = after.strip_prefix(':')?;
            Some(if field == "*" { Pattern::Any } else { Pattern::Exactly(unescape(field)) })
        };
        let patterns = [field()?, field()?, field()?, field()?];
        let password = unescape(rest);
        (!password.is_empty()).then(|| Self { patterns, password: password.into() })
    }
}

impl Pattern {
    fn fits(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => wanted == value,
        }
    }
}

/// The index of the first colon that is not escaped.
fn field_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, character)| {
        let ends = character == ':' && !escaped;
        escaped = character == '\\' && !escaped;
        ends.then_some(at)
    })
}

/// `text` without the backslashes that escape the next character.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        // A backslash at the end escapes nothing and is kept.
        plain.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    plain
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn found(contents: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        PasswordFile::parse(contents)
            .password(&[host], port, database, user)
            .map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn the_first_matching_line_counts() {
        let file = "# db:5432:retool:me:comment\n\nshort:line\ndb:5432:retool:you:no\ndb:*:retool:me:yes\n*:*:*:*:last";
        assert_eq!(found(file, "db", 5432, "retool", "me").as_deref(), Some("yes"));
        assert_eq!(found(file, "db", 5432, "other", "me").as_deref(), Some("last"));
        assert_eq!(found("db:5432:retool:me:yes", "db", 5433, "retool", "me"), None);
    }

    #[test]
    fn a_backslash_escapes_colons_stars_and_backslashes() {
        let file = r"::1:1:x:y:no
\:\:1:5432:a\\b:\*:pass\:wo:rd\\";
        assert_eq!(found(file, "::1", 5432, r"a\b", "*").as_deref(), Some(r"pass:wo:rd\"));
        assert_eq!(found(file, "::1", 5432, r"a\b", "anyone"), None);
    }

    #[test]
    fn a_file_that_others_can_read_is_ignored_with_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        fs::write(&path, "*:*:*:*:secret").unwrap();
        for (mode, usable) in [(0o644, false), (0o620, false), (0o600, true), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut warnings = Vec::new();
            let file = PasswordFile::read(&path, true, &mut warnings);
            assert_eq!(file.password(&["h"], 1, "d", "u").is_some(), usable, "{mode:o}");
            assert_eq!(warnings.is_empty(), usable, "{warnings:?}");
            assert!(!warnings.concat().contains("secret"));
        }
    }

    #[test]
    fn a_missing_file_is_reported_only_if_named() {
        let directory = tempfile::tempdir().unwrap();
        for (path, named, warned) in [("none", true, 1), ("none", false, 0), (".", false, 1)] {
            let mut warnings = Vec::new();
            PasswordFile::read(&directory.path().join(path), named, &mut warnings);
            assert_eq!(warnings.len(), warned, "{path} {named}: {warnings:?}");
        }
    }
}
