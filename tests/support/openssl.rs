//! The program `openssl`. The unit tests of TLS include this file too.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs an OpenSSL command in a directory. Arguments must not contain spaces.
pub(crate) fn openssl(directory: &Path, command: &str) {
    let output = Command::new("openssl").args(command.split_whitespace()).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("install openssl: {error}"));
    assert!(output.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Creates the key `name.key` in a directory. The kind is given as arguments of `openssl genpkey`. An RSA key is the one
/// that was created before for the same purpose, if any, even by an earlier run, because OpenSSL needs up to seconds for
/// each.
pub(crate) fn create_key(directory: &Path, name: &str, kind: &str, purpose: &str) {
    let key = directory.join(format!("{name}.key"));
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-keys");
    let kept = keys.join(format!("{purpose}{}.pem", kind.replace([' ', ':'], "_")));
    if kind.contains("RSA") && kept.exists() {
        fs::copy(kept, key).unwrap();
        return;
    }
    openssl(directory, &format!("genpkey {kind} -out {name}.key"));
    if kind.contains("RSA") {
        fs::create_dir_all(&keys).unwrap();
        // Another test can create the same key at the same time, and must not read a part of it.
        let complete = tempfile::NamedTempFile::new_in(&keys).unwrap();
        fs::copy(key, complete.path()).unwrap();
        complete.persist(kept).unwrap();
    }
}
