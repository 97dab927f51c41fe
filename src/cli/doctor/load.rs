//! Checks the time and the memory that a sync needs.

use std::time::Duration;

use crate::cli::doctor::report::{Check, Line};
use crate::numbers;
use crate::retool::diagnosis::{Facts, Listing, Measured};
use crate::retool::snapshot::estimate;

/// How long the listings of a sync take.
pub(super) fn statements(Measured { rows, timed }: &Measured, facts: &Facts) -> Line {
    let rows = rows
        .iter()
        .map(|(table, rows)| format!("{} {table}", numbers::count(*rows)))
        .collect::<Vec<_>>()
        .join(", ");
    let limit = Duration::from_millis(u64::try_from(facts.server.statement_timeout_ms).unwrap_or_default());
    let Some(slowest) = timed.first() else {
        return Line::ok(Check::Statements, format!("there are no users to list: {rows}"));
    };
    let found = format!(
        "the slowest of {} listings took {} ({}, {} rows); the statement timeout is {}",
        timed.len(),
        numbers::duration(slowest.took),
        listing(slowest.what),
        numbers::count(slowest.rows),
        numbers::duration(limit)
    );
    if slowest.took.saturating_mul(4) > limit {
        return Line::warning(Check::Statements, found)
            .means(format!(
                "This is more than a quarter of the limit: under load, a sync could fail. Rows: {rows}."
            ))
            .fix("raise --statement-timeout-seconds, and the role's own statement_timeout if it has one");
    }
    Line::ok(Check::Statements, found).means(format!("Rows: {rows}."))
}

/// The memory of a sync's snapshot of access, estimated from the numbers of rows.
pub(super) fn snapshot(Measured { rows, .. }: &Measured, most_mib: u32) -> Line {
    const MIB: usize = 1024 * 1024;
    if most_mib == 0 {
        return Line::skipped(
            Check::Snapshot,
            "--snapshot-max-mib is 0: syncs use SQL statements instead of a snapshot",
        );
    }
    let needed = estimate(rows.iter().copied()).div_ceil(MIB).max(1);
    let found = format!("reading one takes up to {needed} MiB; --snapshot-max-mib allows {most_mib}");
    if needed > usize::try_from(most_mib).unwrap_or(usize::MAX) {
        return Line::warning(Check::Snapshot, found)
            .means("Syncs use SQL statements instead, which take the database much longer.")
            .fix(format!(
                "set --snapshot-max-mib to {needed} or more, and raise the program's memory limit by the same amount"
            ));
    }
    Line::ok(Check::Snapshot, found)
}

/// Names a listing by the ids that agents see.
fn listing(listing: Listing) -> String {
    match listing {
        Listing::Users(organization) => format!("users of organization o{organization}"),
        Listing::Groups(organization) => format!("groups of organization o{organization}"),
        Listing::Holders(organization) => format!("grants of organization o{organization}"),
        Listing::Pages(organization) => format!("apps of organization o{organization}"),
        Listing::Resources(organization) => format!("resources of organization o{organization}"),
        Listing::Members(group) => format!("grants of group g{group}"),
        Listing::PageAccess(page) => format!("grants of app p{page}"),
        Listing::ResourceAccess(resource) => format!("grants of resource r{resource}"),
    }
}
