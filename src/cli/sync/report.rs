//! The report of a sync, for people and for machines.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::c1z::Saved;
use crate::agent::sync::{Counts, Outcome, Phase};
use crate::cli::sync::progress::words;
use crate::numbers::{count, duration, size};

/// The cost of writing the file after everything was read.
pub(super) struct Closing {
    pub(super) elapsed: Duration,
    /// Processor time of the process while writing.
    pub(super) cpu: Duration,
    /// The peak resident memory of the process so far, in bytes; `None` if the system does not report it.
    pub(super) peak_memory: Option<u64>,
}

/// The name of the last phase, which is not a phase of the syncer.
const CLOSING: &str = "writing-file";

pub(super) fn as_table(outcome: &Outcome, saved: &Saved, closing: &Closing) -> String {
    let mut text = format!("{:<14}{:>12}{:>14}{:>14}\n", "type", "resources", "entitlements", "grants");
    let mut sum = Counts::default();
    for (id, counts) in &outcome.types {
        let Counts { resources, entitlements, grants } = *counts;
        counts_line(&mut text, id, *counts);
        sum.resources += resources;
        sum.entitlements += entitlements;
        sum.grants += grants;
    }
    counts_line(&mut text, "all", sum);
    text.push('\n');
    for Phase { operation, elapsed, .. } in &outcome.phases {
        time_line(&mut text, words(*operation), *elapsed, "");
    }
    time_line(&mut text, "writing the file", closing.elapsed, "");
    let calls = format!(", {} calls", count(outcome.calls));
    time_line(&mut text, "everything", outcome.elapsed + closing.elapsed, &calls);
    text.push('\n');
    // Writing to a String cannot fail.
    if outcome.resumed {
        let began = outcome.started_at.split('.').next().unwrap_or_default();
        let _ = writeln!(
            text,
            "continued the unfinished sync that began at {began}; the rows above are of this run"
        );
    }
    if outcome.warnings > 0 {
        let _ = writeln!(text, "{} listings were skipped; see the warnings above", count(outcome.warnings));
    }
    for (what, rows) in &outcome.dropped {
        let _ = writeln!(text, "left out: {} {what}", count(*rows));
    }
    let file = saved.path.display();
    let _ = write!(
        text,
        "{file}: {}, {} grants, {} of which are derived from others\n\nnext: baton-retool show access <user> -f {file}, or baton -f {file} resources",
        size(saved.bytes),
        count(saved.grants),
        count(outcome.expanded.derived)
    );
    text
}

fn counts_line(text: &mut String, id: &str, counts: Counts) {
    let [resources, entitlements, grants] = [counts.resources, counts.entitlements, counts.grants].map(count);
    let _ = writeln!(text, "{id:<14}{resources:>12}{entitlements:>14}{grants:>14}");
}

fn time_line(text: &mut String, what: &str, elapsed: Duration, rest: &str) {
    let _ = writeln!(text, "{what:<24}{:>12}{rest}", duration(elapsed));
}

pub(super) fn as_json(outcome: &Outcome, saved: &Saved, closing: &Closing) -> String {
    let types: Vec<_> = outcome
        .types
        .iter()
        .map(|(id, counts)| {
            json!({
                "type": id,
                "resources": counts.resources,
                "entitlements": counts.entitlements,
                "grants": counts.grants,
            })
        })
        .collect();
    let phase = |name: &str, seconds: f64, cpu: f64, peak: Option<u64>| -> Value {
        json!({ "phase": name, "seconds": seconds, "cpu_seconds": cpu, "peak_memory_bytes": peak })
    };
    let mut phases: Vec<_> = outcome
        .phases
        .iter()
        .map(|Phase { operation, elapsed, cpu, peak_memory }| {
            phase(operation.name(), elapsed.as_secs_f64(), cpu.as_secs_f64(), *peak_memory)
        })
        .collect();
    phases.push(phase(
        CLOSING,
        closing.elapsed.as_secs_f64(),
        closing.cpu.as_secs_f64(),
        closing.peak_memory,
    ));
    json!({
        "file": saved.path,
        "bytes": saved.bytes,
        "sync_id": outcome.sync_id,
        "kind": outcome.kind.name(),
        "started_at": outcome.started_at,
        "resumed": outcome.resumed,
        "types": types,
        "grants": saved.grants,
        "derived_grants": outcome.expanded.derived,
        "phases": phases,
        "seconds": (outcome.elapsed + closing.elapsed).as_secs_f64(),
        "calls": outcome.calls,
        "warnings": outcome.warnings,
        "left_out": outcome.dropped,
        "peak_memory_bytes": closing.peak_memory,
    })
    .to_string()
}
