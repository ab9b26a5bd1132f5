//! Images: present, or pulled while the doctor waits.

use k8s_openapi::api::core::v1::Pod;

use super::{
    Facts, Known, Place, Subject, Trouble,
    finding::{Finding, Question},
};
use crate::{
    deploy::images,
    k8s::{
        obstacle::{Kind, Obstacle},
        pod,
    },
};

/// Whether a node has an image.
#[derive(Debug, Clone)]
pub(super) struct Pulled {
    node: String,
    image: String,
    outcome: Result<(), Trouble>,
}

/// Have a node pull the images that a run needs there: the pod's, and this program's for the agent and for verifying
/// checkpoints.
pub(super) async fn pull(subject: &Subject, place: &Place, node: &str, reachable: &Known<()>) -> Vec<Pulled> {
    let intent = &subject.intent;
    let own = (!subject.embedded).then_some(intent.site.image.as_str());
    let images = images::wanted(&intent.scenario.pod, own);
    let told = |pod: &Pod| (0..images.len()).all(|number| verdict(pod, number).is_some());
    let seen = async {
        reachable.clone()?;
        let puller = images::puller(place, &intent.scenario.pod, &images, node);
        let puller = puller.map_err(|error| error.brief())?;
        let seen = images::seen(
            &place.api(&subject.connection.client),
            &puller,
            intent.patience,
            told,
        )
        .await;
        seen.map_err(|error| error.brief())
    };
    let seen = seen.await.map_err(Trouble::Untried);
    let outcome = |number| {
        let late = || format!("not pulled within {} s", intent.patience.as_secs());
        let verdict = verdict(seen.as_ref().map_err(Clone::clone)?, number);
        verdict.unwrap_or_else(|| Err(Trouble::Untried(late())))
    };
    let pulled = |(number, image): (usize, &String)| Pulled {
        node: node.to_owned(),
        image: image.clone(),
        outcome: outcome(number).map_err(|trouble| trouble.while_at(image)),
    };
    images.keys().enumerate().map(pulled).collect()
}

/// What a pod's state says about an image, once it says anything.
fn verdict(pod: &Pod, number: usize) -> Option<Result<(), Trouble>> {
    let name = format!("image-{number}");
    let Some((status, _)) = pod::statuses(pod).find(|(status, _)| status.name == name) else {
        return Some(Err(Trouble::Untried(pod::hopeless(pod)?)));
    };
    match Obstacle::of(status) {
        Some(obstacle) if obstacle.kind == Kind::Image => Some(Err(Trouble::Failed(obstacle.to_string()))),
        Some(_) => Some(Ok(())),
        None => {
            let state = status.state.as_ref()?;
            (state.running.is_some() || state.terminated.is_some()).then_some(Ok(()))
        }
    }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    facts.images.iter().map(of_image).collect()
}

fn of_image(pulled: &Pulled) -> Finding {
    Question::new("image", "present or pullable").on(&pulled.node).tried(
        pulled.outcome.as_ref().map(|()| &pulled.image),
        "push it to a registry that the node reaches, add an imagePullSecret to the pod, or load it with ctr -n k8s.io images import",
    )
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
        json!([{"name": "image-0", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
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
                verdict(&pod("Running", &container(&state)), 0),
                Some(Ok(())),
                "{state}"
            );
        }
    }

    #[test]
    fn a_refusal_is_recognised_at_once() {
        let refused = json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}});
        let verdict = verdict(&pod("Pending", &container(&refused)), 0);
        assert_eq!(
            verdict,
            Some(Err(Trouble::Failed("ErrImagePull: not found".to_owned())))
        );
    }

    #[test]
    fn a_pod_under_way_says_nothing_and_a_rejected_one_nothing_of_the_image() {
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(verdict(&pod("Pending", &container(&creating)), 0), None);
        assert!(matches!(
            verdict(&pod("Failed", &json!([])), 0),
            Some(Err(Trouble::Untried(_)))
        ));
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
        assert_eq!(judged(Ok(())), Status::Ok);
        assert_eq!(
            judged(Err(Trouble::Failed("ErrImagePull".into()))),
            Status::Failed
        );
        assert_eq!(
            judged(Err(Trouble::Untried("no pods here".into()))),
            Status::Skipped
        );
    }
}
