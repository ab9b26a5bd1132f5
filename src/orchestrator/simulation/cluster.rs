//! What is in the cluster at the beginning, and how it is reached.

use axum::Router;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    super::{definition, fixtures},
    kubelet::Stage,
};

/// Nodes, claim and the armed pod.
pub(super) async fn furnish(client: &Client, stage: &Stage) {
    let create = PostParams::default();
    let nodes = Api::<Node>::all(client.clone());
    for name in ["gpu", "worker"] {
        let node = fixtures::node(name);
        nodes.create(&create, &node).await.unwrap();
        patch_status(&nodes, name, &serde_json::to_value(node.status).unwrap()).await;
    }
    definition::install(client).await.unwrap();
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "ml"}})).unwrap();
    namespaces.create(&create, &namespace).await.unwrap();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), "ml");
    let mut claim = fixtures::claim();
    claim.spec.as_mut().unwrap().resources =
        serde_json::from_value(json!({"requests": {"storage": "1Gi"}})).unwrap();
    claims.create(&create, &claim).await.unwrap();
    patch_status(
        &claims,
        "checkpoints",
        &serde_json::to_value(claim.status).unwrap(),
    )
    .await;
    let pods = Api::<Pod>::namespaced(client.clone(), "ml");
    let mut armed = fixtures::pod();
    let annotations = armed.metadata.annotations.as_mut().unwrap();
    if stage.is_without_epochs() {
        annotations.remove("checkpoint.migbench.io/trainer.epoch");
    }
    if stage.standby {
        let take_over = "checkpoint.migbench.io/trainer.take-over";
        annotations.insert(take_over.to_owned(), r#"["take"]"#.to_owned());
    }
    let mut pod = armed.clone();
    pod.metadata.resource_version = None;
    pods.create(&create, &pod).await.unwrap();
    patch_status(&pods, "job", &serde_json::to_value(armed.status).unwrap()).await;
}

pub(super) async fn patch_status<K>(api: &Api<K>, name: &str, status: &Value)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// A client that speaks HTTP over a pipe for each request, since a bare router knows no upgrades.
pub(super) fn in_process(router: Router) -> Client {
    let connect = move |request| {
        let router = router.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let service = TowerToHyperService::new(router);
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(theirs), service)
                .with_upgrades();
            tokio::spawn(serving);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await?;
            tokio::spawn(connection.with_upgrades());
            sender.send_request(request).await
        }
    };
    Client::new(tower::service_fn(connect), "default")
}
