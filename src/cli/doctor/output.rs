//! The report as a table or as JSON.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde_json::json;

use crate::cli::doctor::report::{Line, Report, Status};

/// Prints the report on stdout, with colors on a terminal unless `NO_COLOR` is set.
///
/// # Errors
/// The errors of stdout.
pub(super) fn print(report: &Report, json: bool) -> io::Result<()> {
    let mut stdout = anstream::stdout();
    let text = if json { as_json(report) } else { as_table(report) };
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

const STATUS: usize = 9;
/// The widest title in characters; titles with host names can be longer.
const WIDEST_TITLE: usize = 46;

fn as_table(report: &Report) -> String {
    let mut text = String::new();
    let widths = report.lines().iter().map(|line| title(line).chars().count());
    let width = widths.filter(|width| *width <= WIDEST_TITLE).max().unwrap_or_default();
    for lines in report.lines().chunk_by(skipped_alike) {
        let [line, alike @ ..] = lines else { continue };
        let style = style(line.status);
        if !alike.is_empty() {
            let titles: Vec<String> = lines.iter().map(title).collect();
            let (word, found) = (line.status.as_str(), in_one_line(&line.found));
            text.push_str(&format!("{style}{word:<STATUS$}{style:#}{} checks: {found}\n", lines.len()));
            text.push_str(&format!("{}{}\n", " ".repeat(STATUS), titles.join(", ")));
            continue;
        }
        let title = title(line);
        text.push_str(&format!(
            "{style}{:<STATUS$}{style:#}{title:<width$}  {}\n",
            line.status.as_str(),
            in_one_line(&line.found)
        ));
        let indent = " ".repeat(STATUS);
        if !line.meaning.is_empty() {
            text.push_str(&format!("{indent}{}\n", in_one_line(&line.meaning)));
        }
        for fix in &line.fix {
            text.push_str(&format!("{indent}  > {}\n", in_one_line(fix)));
        }
    }
    text.push_str(&format!("\n{}\n", sum(report)));
    text
}

/// Whether both were skipped for the same reason. The table has one entry for all such lines.
fn skipped_alike(one: &Line, other: &Line) -> bool {
    let skipped =
        |line: &Line| line.status == Status::Skipped && line.meaning.is_empty() && line.fix.is_empty();
    skipped(one) && skipped(other) && one.found == other.found
}

fn title(line: &Line) -> String {
    match line.about.as_str() {
        "" => line.check.as_str().to_owned(),
        about => format!("{}: {}", line.check.as_str(), in_one_line(about)),
    }
}

/// A part of the text comes from the database. It must not add lines or colors.
fn in_one_line(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn sum(report: &Report) -> String {
    let count = |status: Status| format!("{} {}", report.count(status), status.as_str());
    let parts = [Status::Ok, Status::Warning, Status::Failed, Status::Skipped].map(count);
    parts.join(", ")
}

fn style(status: Status) -> Style {
    match status {
        Status::Ok => AnsiColor::Green.on_default(),
        Status::Warning => AnsiColor::Yellow.on_default().bold(),
        Status::Failed => AnsiColor::Red.on_default().bold(),
        Status::Skipped => Style::new().dimmed(),
    }
}

fn as_json(report: &Report) -> String {
    let checks: Vec<_> = report
        .lines()
        .iter()
        .map(|line| {
            json!({
                "check": line.check.as_str(),
                "about": line.about,
                "status": line.status.as_str(),
                "found": line.found,
                "meaning": line.meaning,
                "fix": line.fix,
            })
        })
        .collect();
    let document = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "result": report.worst().as_str(),
        "ok": report.count(Status::Ok),
        "warning": report.count(Status::Warning),
        "failed": report.count(Status::Failed),
        "skipped": report.count(Status::Skipped),
        "checks": checks,
    });
    format!("{document:#}\n")
}
