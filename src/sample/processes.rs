//! Where no cgroup can be written (mode D): CPU time and memory summed over a container's process tree. Labelled "not
//! cgroup", and a verdict from it is never `MET`.
//!
//! CPU time is each process's own clock (`clock_getcpuclockid`), which covers all its threads, ended ones included;
//! `/proc/<pid>/schedstat` would cover the first thread only. What a process had used when last seen stays in the total
//! after its end, so that the total never falls; what it used between the last tick and its end is lost. Walking the tree
//! opens files of `/proc` at each tick: the kernel keeps no counter of a tree.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{time::ClockId, unistd::Pid};

use super::{
    Error,
    counter_file::Buffer,
    probe::{Failure, Missing, Probe},
};
use crate::record::reading::Counters;

/// A process tree, known by its first process.
#[derive(Debug)]
pub struct ProcessProbe {
    root: i32,
    seen: BTreeMap<i32, Seen>,
    /// CPU time of processes that have ended, nanoseconds.
    ended_ns: u64,
}

/// A process as last seen. Its start time tells it from a later one of the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    started: u64,
    cpu_ns: u64,
}

impl ProcessProbe {
    /// The tree below the process whose pid is in `directory/<container id>`.
    pub fn open(directory: &Path, container_id: &str) -> Result<(Self, Missing), Error> {
        let path = directory.join(container_id);
        let io_error = |source| Error::Io {
            path: path.display().to_string(),
            source,
        };
        let text = fs::read_to_string(&path).map_err(io_error)?;
        let root = text
            .trim()
            .parse()
            .map_err(|_| Error::Invalid(format!("{}: {:?} is not a pid", path.display(), text.trim())))?;
        Ok((Self::new(root), missing()))
    }

    /// The tree below a process.
    pub fn new(root: i32) -> Self {
        Self {
            root,
            seen: BTreeMap::new(),
            ended_ns: 0,
        }
    }

    /// Bring the known processes up to date: children that lost their parent stay known, ended ones go to the total.
    fn refresh(&mut self) -> bool {
        let mut alive = BTreeMap::new();
        let mut open: Vec<i32> = self.seen.keys().copied().chain([self.root]).collect();
        while let Some(pid) = open.pop() {
            let Some(now) = look(pid).filter(|_| !alive.contains_key(&pid)) else {
                continue;
            };
            let another = self
                .seen
                .get(&pid)
                .is_some_and(|before| before.started != now.started);
            if another {
                continue;
            }
            alive.insert(pid, now);
            open.extend(children(pid));
        }
        let ended = self.seen.iter().filter(|(pid, _)| !alive.contains_key(pid));
        self.ended_ns += ended.map(|(_, seen)| seen.cpu_ns).sum::<u64>();
        self.seen = alive;
        !self.seen.is_empty()
    }
}

impl Probe for ProcessProbe {
    fn read(&mut self, _: &mut Buffer, into: &mut Counters) -> Result<(), Failure> {
        if !self.refresh() {
            return Err(Failure::Ended);
        }
        let alive_ns: u64 = self.seen.values().map(|seen| seen.cpu_ns).sum();
        into.usage_usec = Some((self.ended_ns + alive_ns) / 1000);
        into.pids_current = Some(self.seen.len() as u64);
        let memory = self.seen.keys().filter_map(|pid| Memory::of(*pid));
        if let Some(total) = memory.reduce(Memory::plus) {
            into.memory_current = Some(total.pss);
            into.memory_anon = total.anon;
        }
        Ok(())
    }
}

fn missing() -> Missing {
    let delivered = ["usage_usec", "pids_current", "memory_current", "memory_anon"];
    Counters::default()
        .fields()
        .filter(|(name, _)| !delivered.contains(name))
        .map(|(name, _)| {
            (
                name.to_owned(),
                "not cgroup: processes do not count it".to_owned(),
            )
        })
        .collect()
}

fn proc(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// The process's present CPU time, null once it is gone or a zombie that its parent has not yet asked for.
fn look(pid: i32) -> Option<Seen> {
    let stat = fs::read_to_string(proc(pid).join("stat")).ok()?;
    let (state, started) = parse_stat(&stat)?;
    if state == "Z" {
        return None;
    }
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?;
    let cpu = Duration::from(clock.now().ok()?);
    Some(Seen {
        started,
        cpu_ns: u64::try_from(cpu.as_nanos()).ok()?,
    })
}

/// State and start time (fields 3 and 22); the name in field 2 may hold anything, blanks and brackets included.
fn parse_stat(stat: &str) -> Option<(&str, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(proc(pid).join("task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Memory of a process, bytes; pages shared with others count in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    pss: u64,
    anon: Option<u64>,
}

impl Memory {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(proc(pid).join("smaps_rollup")).ok()?)
    }

    fn parse(rollup: &str) -> Option<Self> {
        let kibibytes = |key: &str| -> Option<u64> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        Some(Self {
            pss: kibibytes("Pss:")? * 1024,
            anon: kibibytes("Pss_Anon:").map(|anon| anon * 1024),
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            pss: self.pss + other.pss,
            anon: self.anon.zip(other.anon).map(|(one, two)| one + two),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::sample::counter_file::EMPTY;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "42 (a ) S b) R 1 42 42 0 -1 0 0 0 0 0 1 2 3 4 20 0 5 0 98765 1 1";
        assert_eq!(parse_stat(stat), Some(("R", 98765)));
    }

    #[test]
    fn pss_is_read_in_kibibytes() {
        let rollup = "5-7 ---p 00 00:00 0 [rollup]\nRss:  9 kB\nPss:      6 kB\nPss_Anon:   4 kB\n";
        assert_eq!(
            Memory::parse(rollup),
            Some(Memory {
                pss: 6144,
                anon: Some(4096)
            })
        );
        assert_eq!(Memory::parse(""), None);
    }

    #[test]
    fn a_tree_is_summed_and_its_dead_children_stay_in_the_total() {
        let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo busy; read line; echo";
        let mut shell = Command::new("sh")
            .args(["-c", &format!("sh -c '{script}'; echo over; read line")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(shell.stdout.take().unwrap()));
        let mut input = shell.stdin.take().unwrap();
        let mut probe = ProcessProbe::new(shell.id().cast_signed());
        let mut counters = Counters::default();

        assert_eq!(lines.next().unwrap().unwrap(), "busy");
        probe.read(&mut EMPTY.clone(), &mut counters).unwrap();
        let with_child = counters.usage_usec.unwrap();
        assert_eq!(counters.pids_current, Some(2));
        assert!(counters.memory_current.is_none_or(|bytes| bytes > 0));

        std::io::Write::write_all(&mut input, b"\n").unwrap();
        assert_eq!(lines.by_ref().take(2).last().unwrap().unwrap(), "over");
        probe.read(&mut EMPTY.clone(), &mut counters).unwrap();
        assert_eq!(counters.pids_current, Some(1));
        assert!(counters.usage_usec.unwrap() >= with_child);

        drop(input);
        shell.wait().unwrap();
        assert_eq!(probe.read(&mut EMPTY.clone(), &mut counters), Err(Failure::Ended));
    }
}
