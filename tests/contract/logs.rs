//! What containers print.

use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{LogParams, PostParams},
    runtime::wait::conditions::is_pod_running,
};
use migbench::contract::workload::Progress;

use crate::case::{Case, has_ended, pod, said};

on_both_clusters! {
    a_follower_reads_to_the_end_and_the_log_stays,
    a_container_is_named_where_there_are_several,
    a_container_that_has_not_started_has_no_log,
    a_pod_without_a_node_has_an_empty_log,
}

fn of(container: &str) -> LogParams {
    LogParams {
        container: Some(container.into()),
        ..LogParams::default()
    }
}

async fn a_follower_reads_to_the_end_and_the_log_stays(case: Case) {
    let pods: Api<Pod> = case.api();
    let pod = pod("p", &case.nodes[0], &[case.completing("c", 5)]);
    case.create_until(&pod, is_pod_running()).await;
    let follow = LogParams {
        follow: true,
        ..LogParams::default()
    };
    let mut followed = String::new();
    let mut stream = Box::pin(pods.log_stream("p", &follow).await.unwrap());
    stream.read_to_string(&mut followed).await.unwrap();
    let last: Progress = serde_json::from_str(followed.lines().last().unwrap()).unwrap();
    assert!(matches!(last, Progress::Done { .. }), "{followed}");
    assert_eq!(pods.logs("p", &LogParams::default()).await.unwrap(), followed);

    let stamped = LogParams {
        timestamps: true,
        tail_lines: Some(1),
        ..LogParams::default()
    };
    let line = pods.logs("p", &stamped).await.unwrap();
    let (time, text) = line.split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(Some(text.trim_end()), followed.lines().last());
}

async fn a_container_is_named_where_there_are_several(case: Case) {
    let pods: Api<Pod> = case.api();
    let containers = [case.completing("a", 1), case.completing("b", 1)];
    let pod = pod("p", &case.nodes[0], &containers);
    case.create_until(&pod, has_ended("b", 0)).await;
    assert!(pods.logs("p", &of("b")).await.unwrap().contains("\"done\""));
    let bad = |message: &str| (400, "BadRequest".to_owned(), message.to_owned());
    assert_eq!(
        said(pods.logs("p", &LogParams::default()).await),
        bad("a container name must be specified for pod p, choose one of: [a b]")
    );
    assert_eq!(
        said(pods.logs("p", &of("x")).await),
        bad("container x is not valid for pod p")
    );
    let previous = LogParams {
        previous: true,
        ..of("a")
    };
    assert_eq!(
        said(pods.logs("p", &previous).await),
        bad("previous terminated container \"a\" in pod \"p\" not found")
    );
}

async fn a_container_that_has_not_started_has_no_log(case: Case) {
    let pods: Api<Pod> = case.api();
    let mut pod = pod("p", &case.nodes[0], &[case.lasting("c")]);
    let first = serde_json::from_value(case.lasting("first")).unwrap();
    pod.spec.as_mut().unwrap().init_containers = Some(vec![first]);
    let first_runs = |pod: Option<&Pod>| {
        let statuses = pod.and_then(|pod| pod.status.as_ref()?.init_container_statuses.clone());
        statuses.is_some_and(|statuses| {
            statuses[0]
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some())
        })
    };
    case.create_until(&pod, first_runs).await;
    assert_eq!(
        said(pods.logs("p", &of("c")).await),
        (
            400,
            "BadRequest".into(),
            "container \"c\" in pod \"p\" is waiting to start: PodInitializing".into()
        )
    );
}

async fn a_pod_without_a_node_has_an_empty_log(case: Case) {
    let pods: Api<Pod> = case.api();
    pods.create(&PostParams::default(), &case.homeless("p"))
        .await
        .unwrap();
    assert_eq!(pods.logs("p", &LogParams::default()).await.unwrap(), "");
}
