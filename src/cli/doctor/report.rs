//! The results of the checks.

use std::ops::RangeInclusive;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    /// The check could not run, or was not requested.
    Skipped,
    /// No problem was found.
    Ok,
    /// It works, but the operator should know about a problem.
    Warning,
    /// It does not work.
    Failed,
}

/// The checks, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Check {
    Settings,
    Dns,
    Tcp,
    Tls,
    Login,
    Server,
    Database,
    Types,
    Migrations,
    Read,
    RowSecurity,
    Optional,
    Extras,
    Change,
    Statements,
    Snapshot,
    Drift,
    Rest,
    C1,
}

/// One line of the report.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) check: Check,
    /// The checked object if there are several of the same kind; empty if there is one.
    pub(super) about: String,
    pub(super) status: Status,
    pub(super) found: String,
    /// What the result means, unless it is obvious.
    pub(super) meaning: String,
    /// How to fix it: each entry is a statement, a command or a sentence.
    pub(super) fix: Vec<String>,
}

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Line>);

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Check {
    const ALL: [Self; 19] = [
        Self::Settings,
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Login,
        Self::Server,
        Self::Database,
        Self::Types,
        Self::Migrations,
        Self::Read,
        Self::RowSecurity,
        Self::Optional,
        Self::Extras,
        Self::Change,
        Self::Statements,
        Self::Snapshot,
        Self::Drift,
        Self::Rest,
        Self::C1,
    ];

    /// The key in JSON; it does not change.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Login => "login",
            Self::Server => "server",
            Self::Database => "database",
            Self::Types => "types",
            Self::Migrations => "migrations",
            Self::Read => "read",
            Self::RowSecurity => "row_security",
            Self::Optional => "optional",
            Self::Extras => "extras",
            Self::Change => "change",
            Self::Statements => "statements",
            Self::Snapshot => "snapshot",
            Self::Drift => "drift",
            Self::Rest => "rest",
            Self::C1 => "c1",
        }
    }
}

impl Line {
    fn new(check: Check, status: Status, found: impl Into<String>) -> Self {
        let (about, meaning) = (String::new(), String::new());
        Self { check, about, status, found: found.into(), meaning, fix: Vec::new() }
    }

    pub(super) fn ok(check: Check, found: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, found)
    }

    pub(super) fn warning(check: Check, found: impl Into<String>) -> Self {
        Self::new(check, Status::Warning, found)
    }

    pub(super) fn failed(check: Check, found: impl Into<String>) -> Self {
        Self::new(check, Status::Failed, found)
    }

    pub(super) fn skipped(check: Check, reason: impl Into<String>) -> Self {
        Self::new(check, Status::Skipped, reason)
    }

    pub(super) fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    pub(super) fn means(mut self, meaning: impl Into<String>) -> Self {
        self.meaning = meaning.into();
        self
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }

    pub(super) fn fixes(mut self, fixes: impl IntoIterator<Item = String>) -> Self {
        self.fix.extend(fixes);
        self
    }
}

impl Report {
    pub(super) fn push(&mut self, line: Line) {
        self.0.push(line);
    }

    pub(super) fn extend(&mut self, lines: impl IntoIterator<Item = Line>) {
        self.0.extend(lines);
    }

    /// Reports these checks as skipped.
    pub(super) fn skip(&mut self, checks: RangeInclusive<Check>, reason: &str) {
        let skipped = Check::ALL.into_iter().filter(|check| checks.contains(check));
        self.0.extend(skipped.map(|check| Line::skipped(check, reason)));
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.0
    }

    pub(super) fn count(&self, status: Status) -> usize {
        self.0.iter().filter(|line| line.status == status).count()
    }

    pub(super) fn worst(&self) -> Status {
        self.0.iter().map(|line| line.status).max().unwrap_or(Status::Ok)
    }
}
