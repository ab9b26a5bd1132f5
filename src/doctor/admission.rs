//! What the namespace lets in: Pod Security, quotas, limit ranges, and pods that would take our place.

use k8s_openapi::{
    api::{
        core::v1::{LimitRange, Pod, ResourceQuota},
        scheduling::v1::PriorityClass,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{Api, ResourceExt, api::PostParams};

use super::{
    Facts, Known, Place, Subject, Trouble,
    ask::list,
    finding::{Finding, Question},
    room::{self, Amount},
};
use crate::{
    install::agent,
    k8s::{explain, quantity},
    run::agents,
    scenario::Scenario,
};

/// How the nodes' counters would be read.
#[derive(Debug, Clone)]
pub(super) enum Meter {
    /// By agents that are there already.
    Installed,
    /// By agents of the run.
    LetIn,
    /// Agents of the run are refused, with the reason.
    Refused(String),
}

/// What was found.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) meter: Known<Meter>,
    /// Tried in vain where the API server refuses the pod.
    pub(super) workload: Result<(), Trouble>,
    pub(super) quotas: Known<Vec<ResourceQuota>>,
    pub(super) limit_ranges: Known<Vec<LimitRange>>,
    pub(super) priorities: Known<Vec<PriorityClass>>,
}

/// What has a namespace is looked at in the doctor's, once it is open.
pub(super) async fn read(
    subject: &Subject,
    place: &Place,
    opened: &Known<()>,
    scaled: &Known<(Scenario, f64)>,
) -> Admission {
    let client = &subject.connection.client;
    let pods: Api<Pod> = place.api(client);
    let meter = async {
        opened.clone()?;
        meter(subject, &pods).await
    };
    let workload = async {
        let scaled = opened.clone().and_then(|()| scaled.clone());
        let (scenario, _) = scaled.map_err(Trouble::Untried)?;
        dry_run(&pods, &scenario.pod_on(&scenario.source, "doctor")).await
    };
    let quotas = async {
        opened.clone()?;
        list(place.api(client)).await
    };
    let limit_ranges = async {
        opened.clone()?;
        list(place.api(client)).await
    };
    let priorities = list(Api::all(client.clone()));
    let (meter, workload, quotas, limit_ranges, priorities) =
        tokio::join!(meter, workload, quotas, limit_ranges, priorities);
    Admission {
        meter,
        workload,
        quotas,
        limit_ranges,
        priorities,
    }
}

/// As a run would: by the agents that are installed, else by its own.
async fn meter(subject: &Subject, pods: &Api<Pod>) -> Known<Meter> {
    let nodes = subject.nodes().map(str::to_owned);
    if agents::are_installed(&subject.connection.client, &nodes).await {
        return Ok(Meter::Installed);
    }
    let agent = agent::pod(&nodes[0], &subject.intent.site.image);
    match dry_run(pods, &agent).await {
        Ok(()) => Ok(Meter::LetIn),
        Err(Trouble::Failed(why)) => Ok(Meter::Refused(why)),
        Err(Trouble::Untried(why)) => Err(why),
    }
}

async fn dry_run(pods: &Api<Pod>, pod: &Pod) -> Result<(), Trouble> {
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    pods.create(&dry, pod)
        .await
        .map(drop)
        .map_err(|error| match &error {
            kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => {
                Trouble::Failed(explain::brief(&error))
            }
            _ => Trouble::Untried(explain::brief(&error)),
        })
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let admission = &facts.admission;
    if facts.subject.embedded {
        let why = "embedded: there is no admission, and nobody else's pods";
        return vec![Question::new("admission", "the pods are let in").skipped(why)];
    }
    let pod = facts.scaled.as_ref().map(|(scenario, _)| &scenario.pod);
    let wanted = pod.map(room::requests).map_err(Clone::clone);
    let class = pod
        .ok()
        .and_then(|pod| pod.spec.as_ref()?.priority_class_name.clone());
    vec![
        pod_security(&admission.meter),
        workload(&admission.workload),
        quota(&admission.quotas, wanted),
        limit_range(&admission.limit_ranges),
        preemption(&admission.priorities, class.as_deref()),
    ]
}

fn pod_security(meter: &Known<Meter>) -> Finding {
    let question = Question::new("Pod Security", "agents with read-only host paths");
    match meter {
        Err(why) => question.skipped(why),
        Ok(Meter::Installed) => question.ok("agents are installed"),
        Ok(Meter::LetIn) => question.ok("let in (dry run)"),
        Ok(Meter::Refused(why)) => question.warning(
            why,
            "migbench deploy installs agents in kube-system, or label the namespace \
             pod-security.kubernetes.io/enforce=privileged; else readings come by exec, which disturbs the pod",
        ),
    }
}

fn workload(outcome: &Result<(), Trouble>) -> Finding {
    Question::new("workload pod", "let in").tried(
        outcome.as_ref().map(|()| "let in (dry run)"),
        "change the scenario's pod, or what refuses it",
    )
}

/// A migration has the pod twice for a while.
fn quota(quotas: &Known<Vec<ResourceQuota>>, wanted: Known<Amount>) -> Finding {
    let question = Question::new("quota", "the pod's requests, twice");
    let (quotas, wanted) = match (quotas, wanted) {
        (Err(why), _) => return question.skipped(why),
        (_, Err(why)) => return question.skipped(why),
        (Ok(quotas), Ok(wanted)) => (quotas, wanted),
    };
    let twice = Amount {
        millicores: wanted.millicores * 2,
        bytes: wanted.bytes * 2,
    };
    let tight = quotas
        .iter()
        .map(|quota| (quota, left(quota)))
        .find(|(_, left)| !left.holds(twice));
    let Some((quota, left)) = tight else {
        return question.ok(if quotas.is_empty() { "none" } else { "enough left" });
    };
    let name = quota.name_any();
    question.failed(
        format!("{name}: {} left of {}", left.print(), twice.print()),
        format!("raise the ResourceQuota {name}, or use another namespace"),
    )
}

/// What a quota leaves; what it does not name is unlimited.
fn left(quota: &ResourceQuota) -> Amount {
    let status = quota.status.clone().unwrap_or_default();
    let (hard, used) = (status.hard.unwrap_or_default(), status.used.unwrap_or_default());
    let rest = |keys: [&str; 2], parse: fn(&str) -> Result<u64, String>| {
        let of = |key: &&str| {
            let amount =
                |amounts: &std::collections::BTreeMap<String, Quantity>| parse(&amounts.get(*key)?.0).ok();
            Some(amount(&hard)?.saturating_sub(amount(&used).unwrap_or(0)))
        };
        keys.iter().filter_map(of).min().unwrap_or(u64::MAX)
    };
    Amount {
        millicores: rest(["requests.cpu", "cpu"], quantity::millicores),
        bytes: rest(["requests.memory", "memory"], quantity::bytes),
    }
}

fn limit_range(ranges: &Known<Vec<LimitRange>>) -> Finding {
    let question = Question::new("limit range", "none");
    match ranges {
        Err(why) => question.skipped(why),
        Ok(ranges) if ranges.is_empty() => question.ok("none"),
        Ok(ranges) => question.warning(
            ranges
                .iter()
                .map(ResourceExt::name_any)
                .collect::<Vec<_>>()
                .join(", "),
            "its defaults limit what states no limit of its own, in both strategies alike; see that they fit",
        ),
    }
}

/// The classes that Kubernetes brings stand above everything, and that is meant.
fn preemption(classes: &Known<Vec<PriorityClass>>, own: Option<&str>) -> Finding {
    let question = Question::new("priority", "no class that would preempt the pod");
    let classes = match classes {
        Err(why) => return question.skipped(why),
        Ok(classes) => classes,
    };
    let is_own = |class: &&PriorityClass| match own {
        Some(name) => class.name_any() == name,
        None => class.global_default == Some(true),
    };
    let value = |class: &PriorityClass| class.value.unwrap_or(0);
    let ours = classes.iter().find(is_own).map_or(0, value);
    let above: Vec<_> = classes
        .iter()
        .filter(|class| value(class) > ours && !class.name_any().starts_with("system-"))
        .filter(|class| class.preemption_policy.as_deref() != Some("Never"))
        .map(|class| format!("{} ({})", class.name_any(), value(class)))
        .collect();
    if above.is_empty() {
        return question.ok(format!("none above {ours}"));
    }
    question.warning(
        above.join(", "),
        format!("give the scenario's pod a priorityClassName of at least that value (it has {ours})"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Status;

    const REFUSED: &str = "pods \"meter\" is forbidden: violates PodSecurity \"baseline:latest\": hostPath volumes (volume \"host\")";

    #[test]
    fn without_host_paths_the_meter_is_worse_but_a_run_is_possible() {
        assert_eq!(pod_security(&Ok(Meter::Installed)).status, Status::Ok);
        assert_eq!(pod_security(&Ok(Meter::LetIn)).status, Status::Ok);
        let finding = pod_security(&Ok(Meter::Refused(REFUSED.into())));
        assert_eq!(finding.status, Status::Warning);
        assert!(finding.remedy.unwrap().contains("pod-security.kubernetes.io"));
        assert_eq!(
            workload(&Err(Trouble::Failed(REFUSED.into()))).status,
            Status::Failed
        );
    }

    fn quota_of(hard: &serde_json::Value, used: &serde_json::Value) -> ResourceQuota {
        serde_json::from_value(json!({"metadata": {"name": "q"}, "status": {"hard": hard, "used": used}}))
            .unwrap()
    }

    #[test]
    fn a_quota_has_to_hold_the_pod_twice() {
        let wanted = Ok(Amount {
            millicores: 700,
            bytes: 1 << 30,
        });
        let judged = |quotas: Vec<ResourceQuota>| quota(&Ok(quotas), wanted.clone()).status;
        assert_eq!(judged(Vec::new()), Status::Ok);
        let cpu = json!({"requests.cpu": "2"});
        assert_eq!(
            judged(vec![quota_of(&cpu, &json!({"requests.cpu": "600m"}))]),
            Status::Ok
        );
        assert_eq!(
            judged(vec![quota_of(&cpu, &json!({"requests.cpu": "601m"}))]),
            Status::Failed
        );
        assert_eq!(
            judged(vec![quota_of(&json!({"memory": "1Gi"}), &json!({}))]),
            Status::Failed
        );
        assert_eq!(
            judged(vec![quota_of(&json!({"count/jobs.batch": "1"}), &json!({}))]),
            Status::Ok
        );
    }

    fn class(name: &str, value: i32, default: bool, policy: &str) -> PriorityClass {
        serde_json::from_value(json!({
            "metadata": {"name": name}, "value": value, "globalDefault": default, "preemptionPolicy": policy,
        }))
        .unwrap()
    }

    #[test]
    fn classes_above_ours_that_preempt_warn() {
        let judged = |classes: &[PriorityClass], own| preemption(&Ok(classes.to_vec()), own).status;
        let preempts = "PreemptLowerPriority";
        assert_eq!(
            judged(
                &[class("system-node-critical", 2_000_001_000, false, preempts)],
                None
            ),
            Status::Ok
        );
        assert_eq!(
            judged(&[class("high", 1000, false, preempts)], None),
            Status::Warning
        );
        assert_eq!(judged(&[class("high", 1000, false, "Never")], None), Status::Ok);
        assert_eq!(judged(&[class("high", 1000, true, preempts)], None), Status::Ok);
        assert_eq!(
            judged(&[class("high", 1000, false, preempts)], Some("high")),
            Status::Ok
        );
        assert_eq!(
            judged(
                &[class("low", -1, true, preempts), class("mid", 0, false, preempts)],
                None
            ),
            Status::Warning
        );
    }
}
