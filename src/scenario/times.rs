//! The times of a scenario that have to fit the nodes, and the scenario with others.

use std::time::Duration;

use super::{Scenario, duration};

/// Times that go together: where one of them grows, the others have to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Age of the migrated pod's containers at which `after` starts.
    pub settle: Duration,
    /// How long the processor works.
    pub processor: Duration,
    /// Length of the horizon.
    pub horizon: Duration,
}

impl Times {
    /// The times by their keys in `scenario.yaml`.
    pub fn by_key(&self) -> [(&'static str, Duration); 3] {
        [
            ("phases.settle", self.settle),
            ("processorDuration", self.processor),
            ("phases.horizon", self.horizon),
        ]
    }
}

impl Scenario {
    /// How long a pod may take until it is armed: the processor's work is no delay.
    pub fn armed_within(&self) -> Duration {
        self.deadlines.armed + self.processor_duration.unwrap_or_default()
    }

    /// Its times; where it does not say how long its processor works, that is 0.
    pub fn times(&self) -> Times {
        Times {
            settle: self.phases.settle,
            processor: self.processor_duration.unwrap_or_default(),
            horizon: self.phases.horizon,
        }
    }

    /// Take these times, as if they were set by `--set`.
    pub fn take_times(&mut self, times: Times) {
        if let Some(own) = self.processor_duration.replace(times.processor) {
            duration::place(&mut self.pod, &self.roles, own, times.processor);
        }
        self.phases.settle = times.settle;
        self.phases.horizon = times.horizon;
    }
}
