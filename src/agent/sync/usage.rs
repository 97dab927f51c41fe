//! The processor time and memory that the process has used.

use std::time::Duration;

/// The processor time and memory that the process has used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Processor time of all threads, user and system.
    pub cpu: Duration,
    /// Peak resident memory in bytes. `None` on systems other than Linux.
    pub peak_memory: Option<u64>,
}

impl Usage {
    /// Reads the current usage from the system.
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
