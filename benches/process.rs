//! Statistics of a process, on Linux only. On other platforms the report lists them as unknown.

use std::fs;

/// Processor time of a process in seconds, including children for which it has waited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// The time of the process itself, in all threads.
    pub(crate) own: f64,
    /// The time of ended children.
    pub(crate) ended_children: f64,
}

/// The unit of `/proc/PID/stat`: USER_HZ, which is 100 on every platform that Rust's std runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processor time of a process so far; `None` if it does not exist.
pub(crate) fn cpu(process: u32) -> Option<Cpu> {
    let stat = Stat::of(process)?;
    let seconds = |first: usize| Some((stat.number(first)? + stat.number(first + 1)?) / TICKS_PER_SECOND);
    Some(Cpu { own: seconds(14)?, ended_children: seconds(16)? })
}

/// The processor time so far of a process and its children, including ended ones: of a Postgres server if the
/// process is its postmaster.
pub(crate) fn cpu_of_family(parent: u32) -> Option<f64> {
    let Cpu { own, ended_children } = cpu(parent)?;
    let processes = fs::read_dir("/proc").ok()?;
    let children = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|process| Stat::of(*process).and_then(|stat| stat.number(4)) == Some(f64::from(parent)))
        .filter_map(|child| Some(cpu(child)?.own))
        .sum::<f64>();
    Some(own + ended_children + children)
}

/// The peak resident memory of a process, in bytes.
pub(crate) fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// `/proc/PID/stat` from the third field on.
struct Stat(Vec<String>);

impl Stat {
    fn of(process: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The second field is a name in parentheses, which may itself contain blanks and parentheses.
        let (_, behind_name) = stat.rsplit_once(')')?;
        Some(Self(behind_name.split_whitespace().map(str::to_owned).collect()))
    }

    /// A field by its number in proc_pid_stat(5), starting at 1.
    fn number(&self, field: usize) -> Option<f64> {
        self.0.get(field.checked_sub(3)?)?.parse().ok()
    }
}
