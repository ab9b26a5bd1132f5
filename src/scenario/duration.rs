//! How long the processor works, where that is to be another time than its manifest says.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;

use super::{Role, file::ScenarioFile};

/// Have the processors work as long as `file` wants, where the scenario's `own` file says how long they do.
pub(super) fn placed(mut pod: Pod, own: Option<Duration>, file: &ScenarioFile) -> Pod {
    if let (Some(own), Some(wanted)) = (own, file.processor_duration.map(|span| span.0)) {
        place(&mut pod, &file.roles, own, wanted);
    }
    pod
}

/// Arguments `--option=DURATION` of processors that name the time `own`, with its unit or in seconds, name the wanted one.
pub(super) fn place(pod: &mut Pod, roles: &BTreeMap<String, Role>, own: Duration, wanted: Duration) {
    let containers = pod.spec.iter_mut().flat_map(|spec| &mut spec.containers);
    let processors = containers.filter(|container| roles.get(&container.name) == Some(&Role::Processor));
    for argument in processors.flat_map(|container| container.args.iter_mut().flatten()) {
        if let Some((option, value)) = argument.split_once('=') {
            let seconds = value.parse() == Ok(own.as_secs());
            if seconds {
                *argument = format!("{option}={}", wanted.as_secs());
            } else if humantime::parse_duration(value) == Ok(own) {
                *argument = format!("{option}={}", humantime::format_duration(wanted));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    fn arguments(scenario: &str, workload: Option<&str>) -> Vec<String> {
        let overrides = ["processorDuration=1m 30s", "phases.horizon=120s"].map(str::to_owned);
        let pod = Scenario::load(scenario, workload, &overrides).unwrap().pod;
        let containers = pod.spec.unwrap().containers;
        let processor = containers
            .into_iter()
            .find(|container| container.name == "data-processor");
        processor.unwrap().args.unwrap()
    }

    #[test]
    fn the_processor_works_as_long_as_is_said() {
        assert!(arguments("smoke", None).contains(&"--duration=1m 30s".to_owned()));
        assert!(arguments("tensorflow", None).contains(&"--seconds=90".to_owned()));
    }
}
