//! What the process has used so far.

use std::time::Duration;

/// What the process has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Processor time of all threads, user and system.
    pub cpu: Duration,
    /// The most memory that has been resident at once, in bytes. Only Linux tells.
    pub peak_memory: Option<u64>,
}

impl Usage {
    /// Asks the system.
    pub fn now() -> Self {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Self { cpu: Duration::try_from(spent).unwrap_or_default(), peak_memory: peak_memory() }
    }
}

fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}
