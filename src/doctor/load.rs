//! Whether the nodes are quiet and alike: what else runs there goes into the measurement.

use super::{
    Facts,
    finding::{Finding, Question},
    probe::Probed,
    reading::Reading,
};

const BUSY_TOLERATED: f64 = 0.10;
const STEAL_TOLERATED: f64 = 0.01;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for probed in &facts.probed {
        findings.push(busy(probed));
        findings.push(steal(probed));
    }
    findings.push(same_processor(&facts.probed));
    findings
}

fn busy(probed: &Probed) -> Finding {
    let wanted = format!("busy below {}", percent(BUSY_TOLERATED));
    let question = Question::new("load", wanted).on(&probed.node);
    let reading = match &probed.load {
        Err(why) => return question.skipped(why),
        Ok(reading) => reading,
    };
    let Some(shares) = reading.shares() else {
        return question.skipped("the node does not tell its processor times");
    };
    let average = reading.get("load").unwrap_or("?");
    question.ok_if(
        shares.busy < BUSY_TOLERATED,
        format!("busy {}, load average {average}", percent(shares.busy)),
        "drain the node of other pods, or take more rounds: what else runs there disturbs the pod",
    )
}

fn steal(probed: &Probed) -> Finding {
    let wanted = format!("below {}", percent(STEAL_TOLERATED));
    let question = Question::new("steal", wanted).on(&probed.node);
    match probed.load.as_ref().map(Reading::shares) {
        Err(why) => question.skipped(why),
        Ok(None) => question.skipped("the node does not tell its processor times"),
        Ok(Some(shares)) => question.ok_if(
            shares.steal < STEAL_TOLERATED,
            percent(shares.steal),
            "the hypervisor gives its processors to others: reserve them for this machine",
        ),
    }
}

fn same_processor(probed: &[Probed; 2]) -> Finding {
    let question = Question::new("same processor", "one model on both nodes");
    let model = |probed: &Probed| match &probed.reading {
        Err(why) => Err(why.clone()),
        Ok(reading) => reading
            .get("cpu.model")
            .map(str::to_owned)
            .ok_or_else(|| format!("{} does not tell", probed.node)),
    };
    match (model(&probed[0]), model(&probed[1])) {
        (Err(why), _) | (_, Err(why)) => question.skipped(why),
        (Ok(one), Ok(other)) if one == other => question.ok(one),
        (Ok(one), Ok(other)) => question.warning(
            format!("{one} and {other}"),
            "take nodes of one kind, or an even number of rounds: the pod changes direction each round",
        ),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn times(user: u64, idle: u64, steal: u64) -> Probed {
        Probed::telling(&format!(
            "load=0.1\ncpu.times.before=cpu  0 0 0 0 0 0 0 0\ncpu.times.after=cpu  {user} 0 0 {idle} 0 0 0 {steal}"
        ))
    }

    #[test]
    fn a_busy_or_robbed_node_warns() {
        assert_eq!(busy(&times(5, 95, 0)).status, Status::Ok);
        assert_eq!(busy(&times(15, 85, 0)).status, Status::Warning);
        assert_eq!(steal(&times(5, 95, 0)).status, Status::Ok);
        assert_eq!(steal(&times(0, 98, 2)).status, Status::Warning);
        assert_eq!(steal(&Probed::telling("")).status, Status::Skipped);
    }

    #[test]
    fn unequal_processors_warn() {
        let (epyc, xeon) = (
            Probed::telling("cpu.model=EPYC"),
            Probed::telling("cpu.model=Xeon"),
        );
        let judged = |one: &Probed, other: &Probed| same_processor(&[one.clone(), other.clone()]).status;
        assert_eq!(judged(&epyc, &epyc), Status::Ok);
        assert_eq!(judged(&epyc, &xeon), Status::Warning);
        assert_eq!(judged(&epyc, &Probed::telling("")), Status::Skipped);
    }
}
