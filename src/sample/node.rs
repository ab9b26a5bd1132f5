//! What all CPUs of this host do, beside what its containers do.

use std::{io, path::Path};

use super::{
    controller::pressure::some_total,
    counter_file::{Buffer, CounterFile},
};
use crate::record::{clock::monotonic_ns, reading::NodeReading};

/// Microseconds in a unit of `/proc/stat`: Linux tells user space hundredths of a second, whatever its own tick is.
const UNIT_USEC: u64 = 10_000;

/// The files of a host, opened once.
#[derive(Debug)]
pub struct NodeProbe {
    stat: CounterFile,
    pressure: Option<CounterFile>,
}

impl NodeProbe {
    /// Open those below `proc`.
    ///
    /// # Errors
    /// `/proc/stat` is not there, as in some sandboxes.
    pub fn open(proc: &Path) -> io::Result<Self> {
        Ok(Self {
            stat: CounterFile::open(proc.join("stat"))?,
            // Without PSI the rest is worth as much.
            pressure: CounterFile::open(proc.join("pressure/cpu")).ok(),
        })
    }

    /// Read them; nothing where they say nothing.
    pub fn read(&self, buffer: &mut Buffer) -> Option<NodeReading> {
        let at_ns = monotonic_ns();
        // Of many CPUs and interrupts there is more than fits; the first line is all that is needed.
        let text = self.stat.read(buffer).ok()?;
        let [user, nice, system, idle, iowait, irq, softirq, steal] = times(text)?;
        let pressure = self.pressure.as_ref().and_then(|file| file.read(buffer).ok());
        Some(NodeReading {
            name: None,
            at_ns,
            busy_usec: (user + nice + system + irq + softirq) * UNIT_USEC,
            idle_usec: (idle + iowait) * UNIT_USEC,
            steal_usec: steal * UNIT_USEC,
            pressure_cpu_usec: pressure.and_then(some_total),
        })
    }
}

/// The first eight numbers of `/proc/stat`'s first line: user nice system idle iowait irq softirq steal. What guests used
/// (the rest) is in user already.
pub(crate) fn times(stat: &str) -> Option<[u64; 8]> {
    let mut numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let mut times = [0; 8];
    for time in &mut times {
        *time = numbers.next()?.parse().ok()?;
    }
    Some(times)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sample::counter_file::EMPTY;

    #[test]
    fn busy_idle_and_stolen_time_are_told_apart() {
        let proc = tempfile::tempdir().unwrap();
        assert!(NodeProbe::open(proc.path()).is_err());
        let rest = "intr 0 ".repeat(4096);
        let stat = format!("cpu  1 2 4 8 16 32 64 128 1000 1000\ncpu0 9 9 9 9\n{rest}");
        fs::write(proc.path().join("stat"), stat).unwrap();
        let read = || NodeProbe::open(proc.path()).unwrap().read(&mut EMPTY.clone());
        let reading = read().unwrap();
        assert_eq!(
            (reading.busy_usec, reading.idle_usec, reading.steal_usec),
            (1_030_000, 240_000, 1_280_000)
        );
        assert_eq!(reading.pressure_cpu_usec, None);
        fs::create_dir(proc.path().join("pressure")).unwrap();
        fs::write(proc.path().join("pressure/cpu"), "some avg10=0.00 total=17\n").unwrap();
        assert_eq!(read().unwrap().pressure_cpu_usec, Some(17));
        fs::write(proc.path().join("stat"), "cpu  1 2\n").unwrap();
        assert_eq!(read(), None);
    }
}
