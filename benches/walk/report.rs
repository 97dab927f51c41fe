//! The results compared with the targets.

use std::fmt::Write;
use std::time::Duration;

use baton_retool::agent::sync::Counts;
use serde_json::{Value, json};

use crate::support::postgres::Sizes;

/// An organization to measure, and its targets.
#[derive(Clone)]
pub(crate) struct Organization {
    pub(crate) name: String,
    pub(crate) sizes: Sizes,
    pub(crate) targets: &'static [Target],
}

/// The source of the listings of grants in a walk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// A statement for each listing.
    Statements,
    /// One snapshot of access, which is the default.
    Snapshot,
}

/// The cost of one walk. `None` if the platform does not report a figure.
pub(crate) struct Measured {
    pub(crate) organization: Organization,
    pub(crate) source: Source,
    pub(crate) met: Counts,
    pub(crate) calls: u64,
    /// The statements of the program's role, from start-up on.
    pub(crate) statements: i64,
    /// From before Validate to after Cleanup.
    pub(crate) wall: Duration,
    /// The part of the walk that listed grants.
    pub(crate) grants_phase: Duration,
    /// The duration of another listing of all grants, by a client that counts them without decoding.
    pub(crate) serving: Duration,
    /// In seconds, like the next two.
    pub(crate) server_cpu: Option<f64>,
    pub(crate) database_cpu: Option<f64>,
    pub(crate) client_cpu: Option<f64>,
    /// In bytes, like the next two.
    pub(crate) peak_memory: Option<u64>,
    pub(crate) largest_answer: usize,
    pub(crate) binary: Option<u64>,
    pub(crate) first_answer: Duration,
}

/// One line of the report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Figure {
    Resources,
    Entitlements,
    Grants,
    Calls,
    Statements,
    Wall,
    GrantsPhase,
    GrantsPerSecond,
    GrantsPerWalkSecond,
    GrantsServedPerSecond,
    ServerCpu,
    ServerCpuPerGrant,
    CpuPerGrant,
    DatabaseCpu,
    ClientCpu,
    PeakMemory,
    LargestAnswer,
    FirstAnswer,
    Binary,
}

/// A target for a figure.
pub(crate) struct Target {
    figure: Figure,
    bound: Bound,
    /// The same figure of the Go connector, if known.
    before: Option<f64>,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

const fn at_most(figure: Figure, bound: f64, before: f64) -> Target {
    Target { figure, bound: Bound::AtMost(bound), before: Some(before) }
}

const fn new(figure: Figure, bound: Bound) -> Target {
    Target { figure, bound, before: None }
}

/// The figures of the Go connector for the small organization, and the targets with a snapshot.
static SMALL: [Target; 9] = [
    at_most(Figure::Calls, 1250.0, 38_770.0),
    at_most(Figure::Statements, 300.0, 142_409.0),
    new(Figure::DatabaseCpu, Bound::AtMost(0.15)),
    new(Figure::CpuPerGrant, Bound::AtMost(1.5)),
    at_most(Figure::Wall, 53.7 / 25.0, 53.7),
    at_most(Figure::ServerCpu, 28.0 / 25.0, 28.0),
    at_most(Figure::PeakMemory, 64.0, 54.0),
    at_most(Figure::FirstAnswer, 24.0, 24.0),
    at_most(Figure::Binary, 43.0, 43.0),
];

static LARGE: [Target; 3] = [
    new(Figure::GrantsPerSecond, Bound::AtLeast(200_000.0)),
    new(Figure::CpuPerGrant, Bound::AtMost(1.5)),
    new(Figure::PeakMemory, Bound::AtMost(110.0)),
];

/// How many times more grants per second the large organization should list with a snapshot.
const TIMES_AS_FAST: f64 = 4.0;

// === impl Organization ===

impl Organization {
    pub(crate) fn small() -> Self {
        let sizes = Sizes { users: 2_000, groups: 60, pages: 400, resources: 120 };
        Self { name: "small".to_owned(), sizes, targets: &SMALL }
    }

    pub(crate) fn large() -> Self {
        let sizes = Sizes { users: 50_000, groups: 500, pages: 5_000, resources: 1_000 };
        Self { name: "large".to_owned(), sizes, targets: &LARGE }
    }
}

// === impl Source ===

impl Source {
    /// In the order in which they are measured.
    pub(crate) const ALL: [Self; 2] = [Self::Statements, Self::Snapshot];

    /// The flags that make the program use this source.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Statements => &["--snapshot-max-mib=0"],
            Self::Snapshot => &[],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Statements => "statements",
            Self::Snapshot => "snapshot",
        }
    }
}

// === impl Measured ===

impl Measured {
    /// The targets. Walks with statements are measured for comparison only.
    fn targets(&self) -> &'static [Target] {
        match self.source {
            Source::Statements => &[],
            Source::Snapshot => self.organization.targets,
        }
    }

    fn value(&self, figure: Figure) -> Option<f64> {
        const MEBIBYTE: f64 = 1024.0 * 1024.0;
        let grants = self.met.grants as f64;
        let micros_per_grant = |seconds: f64| seconds / grants * 1e6;
        Some(match figure {
            Figure::Resources => self.met.resources as f64,
            Figure::Entitlements => self.met.entitlements as f64,
            Figure::Grants => grants,
            Figure::Calls => self.calls as f64,
            Figure::Statements => self.statements as f64,
            Figure::Wall => self.wall.as_secs_f64(),
            Figure::GrantsPhase => self.grants_phase.as_secs_f64(),
            Figure::GrantsPerSecond => grants / self.grants_phase.as_secs_f64(),
            Figure::GrantsPerWalkSecond => grants / self.wall.as_secs_f64(),
            Figure::GrantsServedPerSecond => grants / self.serving.as_secs_f64(),
            Figure::ServerCpu => self.server_cpu?,
            Figure::DatabaseCpu => self.database_cpu?,
            Figure::ClientCpu => self.client_cpu?,
            Figure::ServerCpuPerGrant => micros_per_grant(self.server_cpu?),
            Figure::CpuPerGrant => micros_per_grant(self.server_cpu? + self.database_cpu?),
            Figure::PeakMemory => self.peak_memory? as f64 / MEBIBYTE,
            Figure::LargestAnswer => self.largest_answer as f64 / MEBIBYTE,
            Figure::FirstAnswer => self.first_answer.as_secs_f64() * 1e3,
            Figure::Binary => self.binary? as f64 / 1e6,
        })
    }
}

// === impl Figure ===

impl Figure {
    const ALL: [Self; 19] = [
        Self::Resources,
        Self::Entitlements,
        Self::Grants,
        Self::Calls,
        Self::Statements,
        Self::Wall,
        Self::GrantsPhase,
        Self::GrantsPerSecond,
        Self::GrantsPerWalkSecond,
        Self::GrantsServedPerSecond,
        Self::ServerCpu,
        Self::DatabaseCpu,
        Self::ClientCpu,
        Self::ServerCpuPerGrant,
        Self::CpuPerGrant,
        Self::PeakMemory,
        Self::LargestAnswer,
        Self::FirstAnswer,
        Self::Binary,
    ];

    /// The names for people and for programs, and the number of decimals.
    fn names(self) -> (&'static str, &'static str, usize) {
        match self {
            Self::Resources => ("resources", "resources", 0),
            Self::Entitlements => ("entitlements", "entitlements", 0),
            Self::Grants => ("grants", "grants", 0),
            Self::Calls => ("calls", "calls", 0),
            Self::Statements => ("SQL statements", "statements", 0),
            Self::Wall => ("whole walk, s", "wall_seconds", 3),
            Self::GrantsPhase => ("grants phase, s", "grants_phase_seconds", 3),
            Self::GrantsPerSecond => ("grants/s in that phase", "grants_per_second", 0),
            Self::GrantsPerWalkSecond => ("grants/s over the walk", "grants_per_walk_second", 0),
            Self::GrantsServedPerSecond => ("grants/s, not decoded", "grants_served_per_second", 0),
            Self::ServerCpu => ("server CPU, s", "server_cpu_seconds", 2),
            Self::DatabaseCpu => ("database CPU, s", "database_cpu_seconds", 2),
            Self::ClientCpu => ("walker's own CPU, s", "client_cpu_seconds", 2),
            Self::ServerCpuPerGrant => ("server CPU/grant, µs", "server_cpu_micros_per_grant", 2),
            Self::CpuPerGrant => ("server+db CPU/grant, µs", "cpu_micros_per_grant", 2),
            Self::PeakMemory => ("server peak RSS, MiB", "peak_rss_mebibytes", 1),
            Self::LargestAnswer => ("largest answer, MiB", "largest_answer_mebibytes", 2),
            Self::FirstAnswer => ("exec to Validate, ms", "first_answer_milliseconds", 1),
            Self::Binary => ("binary, MB", "binary_megabytes", 1),
        }
    }
}

// === impl Target ===

impl Target {
    fn is_reached(&self, value: f64) -> bool {
        match self.bound {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        }
    }
}

// === the report ===

/// The report for people.
pub(crate) fn as_table(measured: &[Measured]) -> String {
    let mut text = String::new();
    for one in measured {
        let Sizes { users, groups, pages, resources } = one.organization.sizes;
        let sizes = format!("users={users} groups={groups} pages={pages} resources={resources}");
        let _ = writeln!(text, "\n{}, by {}: {sizes}\n", one.organization.name, one.source.name());
        line(&mut text, ["", "measured", "target", "", "before", "ratio"]);
        for figure in Figure::ALL {
            let (name, _, decimals) = figure.names();
            let Some(value) = one.value(figure) else {
                line(&mut text, [name, "unknown", "", "", "", ""]);
                continue;
            };
            let number = |value: f64| grouped(value, decimals);
            let target = one.targets().iter().find(|target| target.figure == figure);
            let bound = target.map(|target| match target.bound {
                Bound::AtMost(most) => format!("<= {}", number(most)),
                Bound::AtLeast(least) => format!(">= {}", number(least)),
            });
            let verdict =
                target.map(|target| if target.is_reached(value) { "reached" } else { "NOT REACHED" });
            let before = target.and_then(|target| target.before);
            let cells = [
                name,
                &number(value),
                &bound.unwrap_or_default(),
                verdict.unwrap_or_default(),
                &before.map(number).unwrap_or_default(),
                &before.map(|before| format!("1/{:.1}", before / value)).unwrap_or_default(),
            ];
            line(&mut text, cells);
        }
    }
    for (statements, snapshot) in in_turn(measured) {
        compare(&mut text, statements, snapshot);
    }
    if let Some((small, large)) = small_and_large(measured) {
        let (before, after) = (small.value(Figure::CpuPerGrant), large.value(Figure::CpuPerGrant));
        if let (Some(before), Some(after)) = (before, after) {
            let verdict = if after <= before { "reached" } else { "NOT REACHED" };
            let _ = writeln!(
                text,
                "\nserver+db CPU per grant, large no higher than small: {after:.2} and {before:.2} µs: {verdict}"
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
            let figures: serde_json::Map<String, Value> = Figure::ALL
                .into_iter()
                .map(|figure| (figure.names().1.to_owned(), json!(one.value(figure))))
                .collect();
            let missed: Vec<&str> = one
                .targets()
                .iter()
                .filter(|target| !one.value(target.figure).is_some_and(|value| target.is_reached(value)))
                .map(|target| target.figure.names().1)
                .collect();
            let (name, source) = (&one.organization.name, one.source.name());
            json!({ "organization": name, "source": source, "figures": figures, "targets_missed": missed })
        })
        .collect();
    json!(organizations).to_string()
}

/// Pairs of walks of one organization, with statements and with a snapshot.
fn in_turn(measured: &[Measured]) -> impl Iterator<Item = (&Measured, &Measured)> {
    let pairs = measured.chunks_exact(2).filter_map(|pair| pair.first().zip(pair.last()));
    pairs.filter(|(one, other)| one.source == Source::Statements && other.source == Source::Snapshot)
}

fn compare(text: &mut String, statements: &Measured, snapshot: &Measured) {
    let name = &snapshot.organization.name;
    let _ = writeln!(text, "\n{name}, a snapshot beside statements\n");
    for figure in [
        Figure::Statements,
        Figure::DatabaseCpu,
        Figure::ServerCpu,
        Figure::CpuPerGrant,
        Figure::GrantsPerSecond,
        Figure::GrantsServedPerSecond,
        Figure::PeakMemory,
    ] {
        let (label, _, decimals) = figure.names();
        let (Some(before), Some(after)) = (statements.value(figure), snapshot.value(figure)) else {
            continue;
        };
        let is_speed = matches!(figure, Figure::GrantsPerSecond | Figure::GrantsServedPerSecond);
        let ratio = if is_speed {
            format!("{:.1} times", after / before)
        } else {
            format!("1/{:.1}", before / after)
        };
        // Most of the walk's time is spent in the client, which decodes every grant.
        let has_target = figure == Figure::GrantsServedPerSecond && name == "large";
        let verdict = match (has_target, after >= before * TIMES_AS_FAST) {
            (false, _) => "",
            (true, true) => "reached",
            (true, false) => "NOT REACHED",
        };
        let cells = [label, &grouped(after, decimals), "", verdict, &grouped(before, decimals), &ratio];
        line(text, cells);
    }
}

fn small_and_large(measured: &[Measured]) -> Option<(&Measured, &Measured)> {
    let named = |name: &str| {
        measured.iter().find(|one| one.organization.name == name && one.source == Source::Snapshot)
    };
    Some((named("small")?, named("large")?))
}

fn line(text: &mut String, [name, value, target, verdict, before, ratio]: [&str; 6]) {
    let line = format!("{name:<26}{value:>14}{target:>14}  {verdict:<13}{before:>9}{ratio:>10}");
    let _ = writeln!(text, "{}", line.trim_end());
}

/// A number with thousands separators.
fn grouped(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}
