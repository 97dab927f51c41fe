//! The report of a panic.

use std::io::{self, Write};
use std::sync::LazyLock;
use std::thread;

use crate::repeats::{Repeats, Verdict};
use crate::telemetry::logs;

/// Limits the lines, because a caller may be able to cause a panic with every call.
static LINES: LazyLock<Repeats> = LazyLock::new(|| Repeats::new(10));

/// Logs each panic from now on, with its location in the source. Rust's default hook writes to standard error
/// directly: a stalled reader would block the thread, and the panic message could contain personal data.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // A panic message without arguments is a string literal of the program. Any other message can contain
        // personal data.
        let reason = panic.payload().downcast_ref::<&'static str>().copied();
        if logs::in_force().is_none() {
            // A closed stderr cannot be reported.
            let reason = reason.unwrap_or_default();
            let _ = writeln!(io::stderr(), "baton-retool: panic at {place} {reason}");
            return;
        }
        if let Verdict::Log { left_out } = LINES.judge("panic", None) {
            tracing::error!(place, reason, left_out, "panic");
        }
        // The panic of this thread ends the program.
        if thread::current().name() == Some("main") {
            logs::flush();
        }
    }));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::process::Command;

    use serde_json::Value;

    use super::*;
    use crate::telemetry;
    use crate::telemetry::settings::{LogFormat, LogLevel, LogSettings, LogTarget, TelemetrySettings};

    /// A part of the text of panics, in the environment of the process that panics.
    const SECRET: &str = "SECRET_OF_A_TEST";

    fn without_arguments() {
        panic!("without arguments");
    }

    fn with_arguments() {
        panic!("of {}", std::env::var(SECRET).unwrap());
    }

    /// Panics 20 times, if [`a_panic_is_a_line_of_the_log_without_its_arguments`] runs it.
    #[test]
    fn panics() {
        if std::env::var_os(SECRET).is_none() {
            return;
        }
        log_panics();
        assert!(thread::spawn(with_arguments).join().is_err());
        let settings =
            LogSettings { level: LogLevel::Info, format: LogFormat::Json, paths: vec![LogTarget::Stderr] };
        telemetry::start(&settings, &TelemetrySettings::default()).unwrap();
        assert!(thread::spawn(without_arguments).join().is_err());
        for _ in 0..20 {
            assert!(thread::spawn(with_arguments).join().is_err());
        }
        logs::flush();
    }

    #[test]
    fn a_panic_is_a_line_of_the_log_without_its_arguments() {
        let name = format!("{}::panics", module_path!().split_once("::").unwrap().1);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(SECRET, "hunter2")
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
        let (early, late): (Vec<_>, Vec<_>) = stderr.lines().partition(|line| !line.starts_with('{'));
        let [early] = early[..] else { panic!("{stderr}") };
        assert!(early.starts_with("baton-retool: panic at src/cli/panics.rs:"), "{early}");
        let late: Vec<Value> = late.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(late.len(), 10, "{stderr}");
        assert_eq!((&late[0]["level"], &late[0]["msg"]), (&"error".into(), &"panic".into()), "{stderr}");
        assert_eq!(late[0]["reason"], "without arguments", "{stderr}");
        for line in &late {
            assert!(line["place"].as_str().unwrap().starts_with("src/cli/panics.rs:"), "{line}");
        }
    }
}
