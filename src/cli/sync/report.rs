//! What a sync has read, for people and for machines.

use std::fmt::Write;

use serde_json::json;

use crate::agent::c1z::Saved;
use crate::agent::sync::{Counts, Outcome};
use crate::cli::sync::progress::words;

pub(super) fn as_table(outcome: &Outcome, saved: &Saved) -> String {
    let mut text = format!("{:<14}{:>12}{:>14}{:>12}\n", "type", "resources", "entitlements", "grants");
    let mut sum = Counts::default();
    for (id, counts) in &outcome.types {
        let Counts { resources, entitlements, grants } = *counts;
        line(&mut text, id, *counts);
        sum.resources += resources;
        sum.entitlements += entitlements;
        sum.grants += grants;
    }
    line(&mut text, "all", sum);
    text.push('\n');
    for (phase, took) in &outcome.phases {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<24}{:>10.3} s", words(*phase), took.as_secs_f64());
    }
    let _ = writeln!(
        text,
        "{:<24}{:>10.3} s, {} calls\n",
        "everything",
        outcome.elapsed.as_secs_f64(),
        outcome.calls
    );
    if outcome.warnings > 0 {
        let _ = writeln!(text, "{} listings were skipped; see the warnings before", outcome.warnings);
    }
    for (what, count) in &outcome.dropped {
        let _ = writeln!(text, "left out: {count} {what}");
    }
    let file = saved.path.display();
    let _ = write!(
        text,
        "{file}: {} bytes, {} grants, {} of which follow from others\n\nnext: baton-retool show access <user> -f {file}, or baton -f {file} resources",
        saved.bytes, saved.grants, outcome.expanded.derived
    );
    text
}

fn line(text: &mut String, id: &str, counts: Counts) {
    let Counts { resources, entitlements, grants } = counts;
    let _ = writeln!(text, "{id:<14}{resources:>12}{entitlements:>14}{grants:>12}");
}

pub(super) fn as_json(outcome: &Outcome, saved: &Saved) -> String {
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
    let phases: Vec<_> = outcome
        .phases
        .iter()
        .map(|(phase, took)| json!({ "phase": phase.name(), "seconds": took.as_secs_f64() }))
        .collect();
    json!({
        "file": saved.path,
        "bytes": saved.bytes,
        "sync_id": outcome.sync_id,
        "kind": outcome.kind.name(),
        "resumed": outcome.resumed,
        "types": types,
        "grants": saved.grants,
        "derived_grants": outcome.expanded.derived,
        "phases": phases,
        "seconds": outcome.elapsed.as_secs_f64(),
        "calls": outcome.calls,
        "warnings": outcome.warnings,
        "left_out": outcome.dropped,
    })
    .to_string()
}
