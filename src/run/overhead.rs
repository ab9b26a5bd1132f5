//! What measuring and migrating cost themselves: CPU time of processes that are not part of the workload.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use crate::{
    migrate::{endpoint::Endpoint, orchestrator},
    record::leg::{Overhead, Process},
    sample::{Cost, Meter},
};

/// Processes whose CPU time is charged to the strategy or to the measurement.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    local: Vec<(Process, u32)>,
    /// An orchestrator elsewhere, which tells what it used.
    orchestrator: Option<Endpoint>,
}

impl Processes {
    /// The harness itself, and the orchestrator: a process of this host, or elsewhere.
    pub fn of_run(pid: Option<u32>, orchestrator: Option<Endpoint>) -> Self {
        let mut local = vec![(Process::Harness, std::process::id())];
        local.extend(pid.map(|pid| (Process::Orchestrator, pid)));
        Self {
            local,
            orchestrator: orchestrator.filter(|_| pid.is_none()),
        }
    }

    /// Read them now, and what the meter costs elsewhere.
    pub async fn read(&self, meter: &dyn Meter) -> Vec<Cost> {
        let mut costs = meter.costs().await;
        costs.extend(self.local.iter().map(|(process, pid)| Cost {
            process: process.clone(),
            usec: cpu_usec(*pid),
        }));
        if let Some(endpoint) = &self.orchestrator {
            costs.push(Cost {
                process: Process::Orchestrator,
                usec: orchestrator::cpu_usec(endpoint).await,
            });
        }
        costs
    }
}

/// What was used between two readings of the same processes.
pub fn between(starts: Vec<Cost>, ends: &[Cost]) -> Vec<Overhead> {
    let one = |start: Cost| {
        let unread = || Err("it was not there any more at the end of the horizon".into());
        let end = ends
            .iter()
            .find(|end| end.process == start.process)
            .map_or_else(unread, |end| end.usec.clone());
        Overhead {
            process: start.process,
            reason: start.usec.as_ref().err().or(end.as_ref().err()).cloned(),
            start_usec: start.usec.ok(),
            end_usec: end.ok(),
        }
    };
    starts.into_iter().map(one).collect()
}

/// CPU time of a process including its ended threads, microseconds; `/proc/<pid>/stat` counts in clock ticks (10 ms).
fn cpu_usec(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let ticks_a_second = sysconf(SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .unwrap_or(100)
        .unsigned_abs();
    ticks(&text)
        .map(|ticks| ticks * 1_000_000 / ticks_a_second)
        .ok_or(format!("{path}: not in the expected form"))
}

/// utime + stime: fields 14 and 15, counted behind the name, which may contain spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_an_odd_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 1 2 3 4 700 55 9 9 20 0 4 0 100 1 1";
        assert_eq!(ticks(stat), Some(755));
        assert_eq!(ticks("42 (cut"), None);
    }

    #[test]
    fn readings_are_joined_by_process_and_one_that_is_missing_has_a_reason() {
        let cost = |process: &Process, usec: Result<u64, &str>| Cost {
            process: process.clone(),
            usec: usec.map_err(str::to_owned),
        };
        let agent = Process::Agent("a".into());
        let starts = vec![
            cost(&agent, Ok(5)),
            cost(&Process::Harness, Ok(7)),
            cost(&Process::Orchestrator, Ok(1)),
        ];
        let ends = [cost(&Process::Harness, Err("unreadable")), cost(&agent, Ok(9))];
        let found = between(starts, &ends);
        assert_eq!((found[0].start_usec, found[0].end_usec), (Some(5), Some(9)));
        assert_eq!(
            (found[1].end_usec, found[1].reason.as_deref()),
            (None, Some("unreadable"))
        );
        assert!(found[2].reason.as_ref().unwrap().contains("not there any more"));
    }

    #[test]
    fn a_process_that_is_gone_has_a_reason_and_no_number() {
        assert!(cpu_usec(std::process::id()).is_ok());
        assert!(cpu_usec(u32::MAX).unwrap_err().contains("/proc/4294967295/stat"));
    }
}
