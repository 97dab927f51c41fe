//! The service file, `~/.pg_service.conf`, with named sections of settings.

use std::path::Path;

use crate::operator_file;
use crate::postgres::connection_string::error::{ConnectionStringError, Origin};
use crate::postgres::connection_string::layers::Pairs;

/// Reads the settings of `service`, which was named in `origin`.
///
/// # Errors
/// The file cannot be read, has no such section, or the section has an invalid line or refers to another
/// service.
pub(crate) fn read(path: &Path, service: &str, origin: Origin) -> Result<Pairs, ConnectionStringError> {
    let contents = operator_file::read_text(path)
        .map_err(|source| ConnectionStringError::ServiceFile { path: path.to_owned(), source })?;
    let mut found = None;
    let mut inside = false;
    for (number, line) in contents.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            // As in libpq, the first of several sections with the same name counts.
            inside = found.is_none() && name == service;
            if inside {
                found = Some(Pairs::new());
            }
            continue;
        }
        let Some(settings) = found.as_mut().filter(|_| inside) else { continue };
        let Some((key, value)) = line.split_once('=') else {
            return Err(ConnectionStringError::ServiceFileLine { path: path.to_owned(), line: number + 1 });
        };
        let key = key.trim();
        if key == "service" || key == "servicefile" {
            return Err(ConnectionStringError::NestedService { path: path.to_owned(), line: number + 1 });
        }
        settings.push((key.to_owned(), value.trim().to_owned()));
    }
    found.ok_or_else(|| ConnectionStringError::NoSuchService { path: path.to_owned(), origin })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::fs;

    use super::*;

    fn service(contents: &str, name: &str) -> Result<Pairs, ConnectionStringError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("services");
        fs::write(&path, contents).unwrap();
        read(&path, name, Origin::ConnectionString)
    }

    #[test]
    fn reads_only_the_named_section() {
        let file = "# all\n[a]\nhost=x\n[b]\n host = db \n# note\n\npassword=p=w\n[c]\nhost=y\n[b]\nport=1\n";
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(service(file, "b").unwrap(), [pair("host", "db"), pair("password", "p=w")]);
        assert_eq!(service("[e]\n", "e").unwrap(), []);
    }

    #[test]
    fn an_error_states_the_problem_and_the_line() {
        assert!(matches!(service("[a]", "b"), Err(ConnectionStringError::NoSuchService { .. })));
        let error = service("[b]\nhost=x\nhunter2\n", "b").unwrap_err();
        assert!(matches!(error, ConnectionStringError::ServiceFileLine { line: 3, .. }));
        assert!(!error.to_string().contains("hunter2"));
        let nested = service("[b]\nservice=c", "b");
        assert!(matches!(nested, Err(ConnectionStringError::NestedService { line: 2, .. })));
        assert!(matches!(
            read(Path::new("/nowhere/at/all"), "b", Origin::ConnectionString),
            Err(ConnectionStringError::ServiceFile { .. })
        ));
    }
}
