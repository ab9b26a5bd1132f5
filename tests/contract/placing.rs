//! Which node a pod goes to, and what is said of one that no node takes.

use k8s_openapi::api::core::v1::Pod;
use migbench::k8s::affinity;
use serde_json::{Value, json};

use crate::case::Case;

on_both_clusters! {
    a_pod_without_wishes_is_placed,
    selector_and_affinity_must_both_hold,
    a_pinned_pod_goes_to_the_node_of_that_name,
    a_pod_that_is_too_large_waits,
    a_pod_waits_for_its_claim,
    a_pod_that_is_sent_to_a_node_that_it_does_not_select_is_rejected,
}

/// A pod with this in its specification.
fn pod(case: &Case, more: &Value) -> Pod {
    let mut spec = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [case.lasting("c")]});
    json_patch::merge(&mut spec, more);
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

/// Create it, and see what the scheduler says.
async fn said_of(case: &Case, more: &Value) -> String {
    let is_refused = |pod: Option<&Pod>| refusal(pod).is_some();
    let refused = case.create_until(&pod(case, more), is_refused).await;
    refusal(Some(&refused)).unwrap_or_default()
}

fn refusal(pod: Option<&Pod>) -> Option<String> {
    let conditions = pod?.status.as_ref()?.conditions.iter().flatten();
    let mut refused = conditions.filter(|one| one.type_ == "PodScheduled" && one.status == "False");
    refused.next()?.message.clone()
}

fn is_placed(pod: Option<&Pod>) -> bool {
    pod.and_then(|pod| pod.spec.as_ref()?.node_name.as_ref())
        .is_some()
}

async fn a_pod_without_wishes_is_placed(case: Case) {
    case.create_until(&pod(&case, &json!({})), is_placed).await;
}

async fn selector_and_affinity_must_both_hold(case: Case) {
    let [one, other] = &case.nodes;
    let expression = json!({"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [one]});
    let required = json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
    let pinned = |node: &str| json!({"nodeSelector": {"kubernetes.io/hostname": node}, "affinity": affinity});
    let why = said_of(&case, &pinned(one)).await;
    assert!(
        why.contains("node(s) didn't match Pod's node affinity/selector"),
        "{why}"
    );
    let mut fitting = pod(&case, &pinned(other));
    fitting.metadata.name = Some("q".into());
    case.create_until(&fitting, is_placed).await;
}

/// As the orchestrator places the pods that it makes.
async fn a_pinned_pod_goes_to_the_node_of_that_name(case: Case) {
    let [one, other] = &case.nodes;
    let mut pinned = pod(&case, &json!({"nodeSelector": {"kubernetes.io/hostname": one}}));
    affinity::pin(pinned.spec.as_mut().unwrap(), other);
    let placed = case.create_until(&pinned, is_placed).await;
    assert_eq!(placed.spec.unwrap().node_name.as_ref(), Some(other));
}

async fn a_pod_that_is_too_large_waits(case: Case) {
    let mut large = case.lasting("c");
    large["resources"] = json!({"requests": {"cpu": "6400"}});
    let why = said_of(&case, &json!({"containers": [large]})).await;
    assert!(why.contains("Insufficient cpu"), "{why}");
    assert!(
        why.ends_with("Preemption is not helpful for scheduling."),
        "{why}"
    );
}

async fn a_pod_waits_for_its_claim(case: Case) {
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "nosuch"}}]);
    let why = said_of(&case, &json!({"volumes": volumes})).await;
    let expected = "nodes are available: persistentvolumeclaim \"nosuch\" not found. not found";
    assert!(why.ends_with(expected), "{why}");
}

/// What becomes of a copy of a pod whose selector names another node.
async fn a_pod_that_is_sent_to_a_node_that_it_does_not_select_is_rejected(case: Case) {
    let [one, other] = &case.nodes;
    let copy = pod(
        &case,
        &json!({"nodeName": one, "nodeSelector": {"kubernetes.io/hostname": other}}),
    );
    let is = |wanted: &'static str| {
        move |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some(wanted)
    };
    let status = case.create_until(&copy, is("Failed")).await.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NodeAffinity"));
    assert_eq!(
        status.message.as_deref(),
        Some(
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        )
    );
    let mut fitting = pod(
        &case,
        &json!({"nodeName": other, "nodeSelector": {"kubernetes.io/hostname": other}}),
    );
    fitting.metadata.name = Some("q".into());
    case.create_until(&fitting, is("Running")).await;
}
