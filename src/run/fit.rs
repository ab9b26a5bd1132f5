//! A window that does not fit: by which settings it would.

use std::time::Duration;

use humantime::format_duration;

use super::{
    Error, Run, inputs,
    notice::{Fitted, Notice},
};
use crate::{
    record::{
        clock::Stamp,
        fit::{Change, Fit},
    },
    scenario::{Scenario, times::Times},
};

/// How often a run takes other settings by itself at most: nodes that are slower each time are no place to measure.
pub const FITS: usize = 2;

/// Whole seconds to spare beyond what was seen, as a part of it: no start takes exactly as long as another.
const SPARE: u32 = 4;

/// The window can begin only so late that a processor ends within it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}. Where the nodes are so slow: {}; a leg takes up to {} longer then", options(.changes).join(" "), format_duration(*.more))]
pub struct Misfit {
    why: String,
    more: Duration,
    changes: Vec<Change>,
    times: Times,
}

impl Misfit {
    /// The window begins only at this age of the containers, and `processor` does not last until its end.
    pub(super) fn new(scenario: &Scenario, processor: &str, age: Duration) -> Self {
        let phases = scenario.phases;
        let own = scenario.times();
        let settle = seconds(age + age / SPARE);
        let life = seconds(settle + phases.window() + settle / SPARE);
        let times = Times {
            settle,
            processor: life,
            horizon: own.horizon.max(seconds(life + phases.window() / 2)),
        };
        let changes: Vec<_> = own
            .by_key()
            .into_iter()
            .zip(times.by_key())
            .filter(|(own, wanted)| own != wanted)
            .map(|((key, from), (_, to))| Change {
                key: key.into(),
                from: compact(from),
                to: compact(to),
            })
            .collect();
        Self {
            why: format!(
                "the window can begin only {:.1} s after the migrated containers started, when the trainer has made a \
                 step, and {processor}, whose second life it is about, ends before it does",
                age.as_secs_f64()
            ),
            more: life.saturating_sub(own.processor) * 2 + times.horizon.saturating_sub(own.horizon),
            changes,
            times,
        }
    }

    fn taken(&self, at: Stamp) -> Fit {
        Fit {
            at,
            why: self.why.clone(),
            changes: self.changes.clone(),
        }
    }
}

impl Run {
    /// Take the settings that fit, as if they were given on the command line, where `migbench resume` finds them.
    pub(super) fn take(&mut self, misfit: &Misfit) -> Result<(), Error> {
        self.fits += 1;
        self.settings.scenario.take_times(misfit.times);
        self.settings.arguments.extend(options(&misfit.changes));
        let (scenario, cpu_scale) = self.settings.scaled(self.capacity);
        self.scenario = scenario;
        let plan = self.settings.plan(&self.scenario, Some(cpu_scale));
        self.notices.send(Notice::Fitted(Box::new(Fitted {
            fit: misfit.taken(self.notices.clock().now()),
            settings: self.settings.recorded(&self.scenario, cpu_scale),
            inputs: inputs::digests(&self.settings.scenario)?,
            leg: plan.leg_duration().unwrap_or_default(),
        })));
        Ok(())
    }
}

/// Words of a command line.
fn options(changes: &[Change]) -> Vec<String> {
    let option = |change: &Change| ["--set".to_owned(), format!("{}={}", change.key, change.to)];
    changes.iter().flat_map(option).collect()
}

fn seconds(at_least: Duration) -> Duration {
    Duration::from_secs(at_least.as_secs() + u64::from(at_least.subsec_nanos() > 0))
}

/// In a shell one word.
fn compact(duration: Duration) -> String {
    format_duration(duration).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_accepted_fits_and_is_what_is_taken() {
        for (name, age) in [("tensorflow", 24_300), ("smoke", 4_100), ("tensorflow", 150_000)] {
            let mut scenario = Scenario::load(name, Some("builtin"), &[]).unwrap();
            let age = Duration::from_millis(age);
            let told = Misfit::new(&scenario, "data-processor", age);
            let text = told.to_string();
            let words: Vec<&str> = text.split_whitespace().collect();
            let given = words.windows(2).filter(|pair| pair[0] == "--set");
            let given: Vec<String> = given
                .map(|pair| pair[1].trim_end_matches(';').to_owned())
                .collect();
            assert_eq!(given.len(), 3, "{text}");
            let fitted = Scenario::load(name, Some("builtin"), &given).unwrap();
            let times = fitted.times();
            assert!(times.settle > age);
            assert!(times.processor > times.settle + fitted.phases.window());
            scenario.take_times(told.times);
            assert_eq!(scenario, fitted);
        }
    }
}
