//! Progress of a sync: one line per phase, on a terminal only.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tokio::task::JoinHandle;

use crate::agent::sync::{Meter, Operation, Reading};
use crate::numbers::{count, duration};

/// How often the line is updated.
const TICK: Duration = Duration::from_millis(100);

/// Shows the progress of a sync until [`Progress::end`].
pub(super) struct Progress {
    /// `None` without a terminal.
    shown: Option<(JoinHandle<()>, ProgressBar, Arc<Meter>)>,
}

impl Progress {
    /// Shows the values of the meter if stderr is a terminal.
    pub(super) fn of(meter: Arc<Meter>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { shown: None };
        }
        let bar = ProgressBar::no_length();
        if let Ok(style) =
            ProgressStyle::with_template("{prefix:<22} {bar:30} {human_pos}/{human_len} {rate} {left} {msg}")
        {
            bar.set_style(style.with_key("rate", rate).with_key("left", left));
        }
        let (watched, line) = (Arc::clone(&meter), bar.clone());
        let task = tokio::spawn(async move {
            let mut before: Option<Reading> = None;
            loop {
                let now = watched.read();
                if let Some(before) = before.filter(|before| before.phase != now.phase) {
                    print(&line, &before, &watched);
                    line.reset();
                }
                draw(&line, &now);
                before = Some(now);
                tokio::time::sleep(TICK).await;
            }
        });
        Self { shown: Some((task, bar, meter)) }
    }

    /// Removes the line.
    pub(super) fn end(self) {
        if let Some((task, bar, _)) = self.shown {
            task.abort();
            bar.finish_and_clear();
        }
    }
}

/// The number of items per second, over the whole phase.
fn rate(state: &ProgressState, out: &mut dyn Write) {
    let seconds = state.elapsed().as_secs_f64();
    let rate = if seconds > 0.0 { state.pos() as f64 / seconds } else { 0.0 };
    // An error while printing is ignored.
    let _ = write!(out, "{}/s", count(rate as u64));
}

/// The remaining time of the phase at this rate.
fn left(state: &ProgressState, out: &mut dyn Write) {
    let rest = state.len().unwrap_or_default().saturating_sub(state.pos());
    let seconds = state.elapsed().as_secs_f64() * rest as f64 / state.pos().max(1) as f64;
    let _ = write!(out, "{} left", duration(Duration::from_secs(seconds.round() as u64)));
}

fn draw(line: &ProgressBar, now: &Reading) {
    let Some(phase) = now.phase else {
        line.set_prefix("writing the file");
        line.tick();
        return;
    };
    line.set_prefix(words(phase));
    line.set_length(now.expected);
    line.set_position(now.done);
    line.set_message(met(now));
}

/// Prints the final line of a finished phase.
fn print(line: &ProgressBar, before: &Reading, meter: &Meter) {
    let Some(phase) = before.phase else { return };
    let done = meter.phases().into_iter().find(|done| done.operation == phase);
    let elapsed = done.map_or(before.elapsed, |done| done.elapsed);
    line.println(format!("{:<22} {}, {}", words(phase), duration(elapsed), met(before)));
}

fn met(now: &Reading) -> String {
    let [resources, entitlements, grants] = [now.resources, now.entitlements, now.grants].map(count);
    format!("{resources} resources, {entitlements} entitlements, {grants} grants")
}

/// The name of a phase, as in the report.
pub(super) fn words(phase: Operation) -> &'static str {
    match phase {
        Operation::Init => "planning",
        Operation::ListResourceTypes => "resource types",
        Operation::ListResources => "resources",
        Operation::ListEntitlements => "entitlements",
        Operation::ListGrants => "grants",
        Operation::ListExternalResources => "external resources",
        Operation::GrantExpansion => "grant expansion",
        Operation::TargetedResourceSync => "single resources",
        Operation::ListStaticEntitlements => "entitlement templates",
    }
}
