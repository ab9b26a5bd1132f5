//! Control groups: what the meter reads.

use super::{
    Facts,
    finding::{Finding, Question},
    probe::Probed,
};

/// Controllers that the counters of a run come from.
const CONTROLLERS: [&str; 2] = ["cpu", "memory"];

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    if facts.subject.embedded {
        let why = "embedded: containers are processes of this host";
        return vec![Question::new("cgroup", "v2").skipped(why)];
    }
    let of_node = |probed: &Probed| [hierarchy(probed), driver(probed)];
    facts.probed.iter().flat_map(of_node).collect()
}

fn hierarchy(probed: &Probed) -> Finding {
    let wanted = format!("v2 with {}", CONTROLLERS.join(" and "));
    let question = Question::new("cgroup", wanted).on(&probed.node);
    let reading = match &probed.reading {
        Err(why) => return question.skipped(why),
        Ok(reading) => reading,
    };
    let controllers = reading.get("cgroup.controllers").unwrap_or_default();
    let lacks = |wanted: &&&str| !controllers.split(' ').any(|name| name == **wanted);
    match (reading.get("cgroup.mode"), CONTROLLERS.iter().find(lacks)) {
        (Some("v2"), None) => question.ok(format!("v2: {controllers}")),
        (Some("v2"), Some(lacking)) => question.failed(
            format!("v2 without {lacking}"),
            "remove cgroup_disable= from the kernel's command line",
        ),
        (Some(old), _) => question.failed(
            old,
            "boot with systemd.unified_cgroup_hierarchy=1 and a kubelet that uses cgroup v2",
        ),
        (None, _) => question.skipped("the pod saw no cgroup file system"),
    }
}

fn driver(probed: &Probed) -> Finding {
    let question = Question::new("cgroup driver", "systemd or cgroupfs").on(&probed.node);
    match &probed.driver {
        Err(why) => question.skipped(why),
        Ok(driver) => question.ok_if(
            matches!(driver.as_str(), "systemd" | "cgroupfs"),
            driver,
            "the meter looks for containers by their id in the whole tree; tell us about this driver",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn judged(text: &str) -> Status {
        let probed = Probed::telling(text);
        hierarchy(&probed).status
    }

    #[test]
    fn only_v2_with_both_controllers_will_do() {
        assert_eq!(
            judged("cgroup.mode=v2\ncgroup.controllers=cpuset cpu io memory pids"),
            Status::Ok
        );
        assert_eq!(
            judged("cgroup.mode=v2\ncgroup.controllers=cpuset cpu io pids"),
            Status::Failed
        );
        assert_eq!(
            judged("cgroup.mode=v2\ncgroup.controllers=cpuset memory"),
            Status::Failed
        );
        assert_eq!(judged("cgroup.mode=hybrid"), Status::Failed);
        assert_eq!(judged("cgroup.mode=v1"), Status::Failed);
        assert_eq!(judged(""), Status::Skipped);
    }
}
