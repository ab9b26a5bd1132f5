//! Images: present, or pulled while the doctor waits.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, runtime::wait::await_condition};
use tokio::time::timeout;

use super::{
    Facts, Known, Subject,
    errand::Errand,
    finding::{Finding, Question},
    place::Place,
};
use crate::k8s::{
    obstacle::{Kind, Obstacle},
    pod,
};

/// Whether a node has an image. The outer error says why that is not known, the inner one why it has not.
#[derive(Debug, Clone)]
pub(super) struct Pulled {
    pub(super) node: String,
    pub(super) image: String,
    pub(super) outcome: Known<Result<(), String>>,
}

impl Pulled {
    /// It was not tried, with the reason.
    pub(super) fn untried(node: &str, image: &str, why: String) -> Self {
        Self {
            node: node.to_owned(),
            image: image.to_owned(),
            outcome: Err(why),
        }
    }
}

/// The images that a run needs on both nodes, each once: the pod's, and this program's for the agent and for verifying
/// checkpoints.
pub(super) fn images(subject: &Subject) -> BTreeSet<String> {
    let spec = subject.intent.scenario.pod.spec.iter();
    let containers = spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let own = (!subject.embedded).then(|| subject.intent.image.clone());
    containers
        .filter_map(|container| container.image.clone())
        .chain(own)
        .collect()
}

/// Have a node run a container of an image, and see how far it comes.
pub(super) async fn pull(subject: &Subject, place: &Place, node: &str, number: usize, image: &str) -> Pulled {
    let errand = Errand {
        name: format!("image-{number}-{node}"),
        node,
        image,
        // Whether it can run that does not matter: by then the image is there.
        command: vec!["true".to_owned()],
        volume: None,
    };
    Pulled {
        node: node.to_owned(),
        image: image.to_owned(),
        outcome: run(subject, place, &errand).await,
    }
}

async fn run(subject: &Subject, place: &Place, errand: &Errand<'_>) -> Known<Result<(), String>> {
    let api: Api<Pod> = Api::namespaced(subject.client.clone(), &place.namespace);
    place.make(&api, &errand.pod(subject, place)).await?;
    let decided = |pod: Option<&Pod>| pod.and_then(verdict).is_some();
    let waiting = await_condition(api, &errand.name, decided);
    match timeout(subject.intent.patience, waiting).await {
        Ok(Ok(pod)) => pod.as_ref().and_then(verdict).ok_or("the pod was deleted")?,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "not pulled within {} s",
            subject.intent.patience.as_secs()
        )),
    }
}

/// What a pod's state says about its image, once it says anything.
fn verdict(pod: &Pod) -> Option<Known<Result<(), String>>> {
    let Some((status, _)) = pod::statuses(pod).next() else {
        let why = pod::hopeless(pod)?;
        return Some(Err(why));
    };
    match Obstacle::of(status) {
        Some(obstacle) if obstacle.kind == Kind::Image => Some(Ok(Err(obstacle.to_string()))),
        Some(_) => Some(Ok(Ok(()))),
        None => {
            let state = status.state.clone().unwrap_or_default();
            (state.running.is_some() || state.terminated.is_some()).then_some(Ok(Ok(())))
        }
    }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    facts.images.iter().map(of_image).collect()
}

fn of_image(pulled: &Pulled) -> Finding {
    let question = Question::new("image", "present or pullable").on(&pulled.node);
    match &pulled.outcome {
        Err(why) => question.skipped(format!("{}: {why}", pulled.image)),
        Ok(Ok(())) => question.ok(&pulled.image),
        Ok(Err(why)) => question.failed(
            format!("{}: {why}", pulled.image),
            "push it to a registry that the node reaches, add an imagePullSecret to the pod, or load it with ctr -n k8s.io images import",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::Status;

    fn pod(phase: &str, statuses: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"restartPolicy": "Never", "containers": []},
            "status": {"phase": phase, "containerStatuses": statuses, "message": "Pod was rejected"},
        }))
        .unwrap()
    }

    fn container(state: &Value) -> Value {
        json!([{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
    }

    #[test]
    fn a_container_that_got_anywhere_has_its_image() {
        for state in [
            json!({"running": {}}),
            json!({"terminated": {"exitCode": 0}}),
            json!({"terminated": {"exitCode": 128, "reason": "StartError"}}),
            json!({"waiting": {"reason": "RunContainerError"}}),
        ] {
            assert_eq!(
                verdict(&pod("Running", &container(&state))),
                Some(Ok(Ok(()))),
                "{state}"
            );
        }
    }

    #[test]
    fn a_refusal_is_recognised_at_once() {
        let refused = json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}});
        let verdict = verdict(&pod("Pending", &container(&refused)));
        assert_eq!(verdict, Some(Ok(Err("ErrImagePull: not found".to_owned()))));
    }

    #[test]
    fn a_pod_under_way_says_nothing_and_a_rejected_one_nothing_of_the_image() {
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(verdict(&pod("Pending", &container(&creating))), None);
        assert!(matches!(verdict(&pod("Failed", &json!([]))), Some(Err(_))));
    }

    #[test]
    fn only_a_refused_image_fails() {
        let judged = |outcome| {
            let pulled = Pulled {
                node: "n".into(),
                image: "i".into(),
                outcome,
            };
            of_image(&pulled).status
        };
        assert_eq!(judged(Ok(Ok(()))), Status::Ok);
        assert_eq!(judged(Ok(Err("ErrImagePull".into()))), Status::Failed);
        assert_eq!(judged(Err("no pods here".into())), Status::Skipped);
    }
}
