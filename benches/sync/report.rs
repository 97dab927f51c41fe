//! The results as a table and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::measure::{Measured, Theirs};

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// The most memory of a sync in MiB: with expanded grants, and before the expansion.
const MAX_MEMORY: f64 = 600.0;
const MAX_MEMORY_UNEXPANDED: f64 = 150.0;

/// The name of the phase that expands grants.
const EXPANSION: &str = "grant-expansion";

/// The report for people.
pub(crate) fn as_table(measured: &[Measured]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for one in measured {
        let sizes = one.organization.sizes;
        let _ = writeln!(
            text,
            "\n{}: users={} groups={} pages={} resources={}\n",
            one.organization.name, sizes.users, sizes.groups, sizes.pages, sizes.resources
        );
        let _ = writeln!(text, "{:<24}{:>10}{:>10}{:>16}", "phase", "wall, s", "CPU, s", "peak RSS, MiB");
        for phase in phases(one) {
            let name = phase["phase"].as_str().unwrap_or_default();
            let memory = number(phase, "peak_memory_bytes") / MEBIBYTE;
            let (wall, cpu) = (number(phase, "seconds"), number(phase, "cpu_seconds"));
            let _ = writeln!(text, "{name:<24}{wall:>10.3}{cpu:>10.3}{memory:>16.1}");
        }
        let report = &one.ours.report;
        let wall = one.ours.wall;
        let most = one.organization.most_seconds;
        let _ = writeln!(
            text,
            "\nexec to exit, s          {wall:>9.3}{}",
            verdict(most.map(|most| wall <= most))
        );
        let memory = number(report, "peak_memory_bytes") / MEBIBYTE;
        let _ =
            writeln!(text, "peak RSS, MiB            {memory:>9.1}{}", verdict(Some(memory <= MAX_MEMORY)));
        let memory = before_expansion(one);
        let is_small = memory <= MAX_MEMORY_UNEXPANDED;
        let _ = writeln!(text, "before expansion, MiB    {memory:>9.1}{}", verdict(Some(is_small)));
        let _ = writeln!(text, "file, MiB                {:>9.2}", number(report, "bytes") / MEBIBYTE);
        let _ = writeln!(text, "grants                   {:>9}", report["grants"]);
        if let Some(Theirs { wall: theirs, peak_memory, file }) = &one.theirs {
            let memory = peak_memory.map_or(0.0, |bytes| bytes as f64 / MEBIBYTE);
            let ratio = theirs / wall;
            let _ = writeln!(
                text,
                "SDK's agent: {theirs:.3} s, {ratio:.1} times ours{}, peak RSS {memory:.1} MiB, file {:.2} MiB",
                verdict(one.organization.times_faster.map(|times| ratio >= times)),
                *file as f64 / MEBIBYTE
            );
        }
    }
    text
}

/// The report for programs.
pub(crate) fn as_json(measured: &[Measured]) -> String {
    let organizations: Vec<Value> = measured
        .iter()
        .map(|one| {
            let theirs = one.theirs.as_ref().map(|run| {
                json!({
                    "wall_seconds": run.wall,
                    "peak_memory_bytes": run.peak_memory,
                    "file_bytes": run.file,
                })
            });
            json!({
                "organization": one.organization.name,
                "wall_seconds": one.ours.wall,
                "report": one.ours.report,
                "sdk": theirs,
            })
        })
        .collect();
    json!(organizations).to_string()
}

fn phases(one: &Measured) -> impl Iterator<Item = &Value> {
    one.ours.report["phases"].as_array().into_iter().flatten()
}

/// The peak memory until all grants of the connector were stored, in MiB.
fn before_expansion(one: &Measured) -> f64 {
    let listings = phases(one).take_while(|phase| phase["phase"] != EXPANSION);
    listings.map(|phase| number(phase, "peak_memory_bytes")).fold(0.0, f64::max) / MEBIBYTE
}

fn number(object: &Value, name: &str) -> f64 {
    object[name].as_f64().unwrap_or_default()
}

fn verdict(reached: Option<bool>) -> &'static str {
    match reached {
        Some(true) => "  reached",
        Some(false) => "  NOT REACHED",
        None => "",
    }
}
