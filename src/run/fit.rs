//! A window that does not fit: by which settings it would.

use std::time::Duration;

use humantime::format_duration;

use crate::scenario::Scenario;

/// Whole seconds to spare beyond what was seen, as a part of it: no start takes exactly as long as another.
const SPARE: u32 = 4;

/// What is wrong where the window can begin only at this age of the containers, and what to set instead.
pub(super) fn told(scenario: &Scenario, processor: &str, age: Duration) -> String {
    let phases = scenario.phases;
    let settle = seconds(age + age / SPARE);
    let life = seconds(settle + phases.window() + settle / SPARE);
    let horizon = phases.horizon.max(seconds(life + phases.window() / 2));
    let more = life.saturating_sub(scenario.processor_duration.unwrap_or_default()) * 2
        + horizon.saturating_sub(phases.horizon);
    format!(
        "the window can begin only {:.1} s after the migrated containers started, when the trainer has made a step, and \
         {processor}, whose second life it is about, ends before it does. Where the nodes are so slow: --set phases.settle={} \
         --set processorDuration={} --set phases.horizon={}; a leg takes up to {} longer then",
        age.as_secs_f64(),
        compact(settle),
        compact(life),
        compact(horizon),
        format_duration(more),
    )
}

fn seconds(at_least: Duration) -> Duration {
    Duration::from_secs(at_least.as_secs() + u64::from(at_least.subsec_nanos() > 0))
}

/// In a shell one word.
fn compact(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_accepted_and_fits() {
        for (name, age) in [("tensorflow", 24_300), ("smoke", 4_100)] {
            let scenario = Scenario::load(name, None, &[]).unwrap();
            let age = Duration::from_millis(age);
            let told = told(&scenario, "data-processor", age);
            let words: Vec<&str> = told.split_whitespace().collect();
            let given = words.windows(2).filter(|pair| pair[0] == "--set");
            let given: Vec<String> = given
                .map(|pair| pair[1].trim_end_matches(';').to_owned())
                .collect();
            assert_eq!(given.len(), 3, "{told}");
            let fitted = Scenario::load(name, None, &given).unwrap();
            assert!(fitted.phases.settle > age);
            assert!(fitted.processor_duration.unwrap() > fitted.phases.settle + fitted.phases.window());
        }
    }
}
