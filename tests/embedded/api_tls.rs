//! The API as other processes reach it: over TLS, with a token, by kube's whole client and by a WebSocket.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{AttachParams, LogParams, PostParams},
    runtime::wait::{await_condition, conditions},
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::api_fixture::{kubelet::TlsServer, pod};

async fn pods_with_one(server: &TlsServer) -> Api<Pod> {
    let pods: Api<Pod> = Api::default_namespaced(server.client().await);
    let wanted = serde_json::from_value(pod("p")).unwrap();
    pods.create(&PostParams::default(), &wanted).await.unwrap();
    pods
}

#[tokio::test]
async fn a_request_without_the_token_is_refused() {
    let server = TlsServer::start().await;
    let mut config: serde_json::Value = serde_json::from_str(&server.kubeconfig).unwrap();
    config["users"][0]["user"]["token"] = json!("wrong");
    let config = kube::config::Kubeconfig::from_yaml(&config.to_string()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
        .await
        .unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let refused = Api::<Pod>::default_namespaced(client)
        .list(&kube::api::ListParams::default())
        .await
        .unwrap_err();
    match refused {
        kube::Error::Api(status) => assert_eq!((status.code, status.reason.as_str()), (401, "Unauthorized")),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_watch_over_tls_sees_what_happens() {
    let server = TlsServer::start().await;
    let pods = pods_with_one(&server).await;
    let running = await_condition(pods.clone(), "p", conditions::is_pod_running());
    let write = async {
        let patch = kube::api::Patch::Merge(json!({"status": {"phase": "Running"}}));
        pods.patch_status("p", &kube::api::PatchParams::default(), &patch)
            .await
    };
    let (seen, written) = tokio::join!(running, write);
    assert_eq!(written.unwrap().name_any(), "p");
    assert!(seen.unwrap().is_some());
}

#[tokio::test]
async fn logs_come_from_the_kubelet() {
    let server = TlsServer::start().await;
    let pods = pods_with_one(&server).await;
    let options = LogParams {
        tail_lines: Some(5),
        ..LogParams::default()
    };
    assert_eq!(
        pods.logs("p", &options).await.unwrap(),
        "c tail=Some(5) follow=false\n"
    );
    let previous = LogParams {
        previous: true,
        ..LogParams::default()
    };
    let refused = pods.logs("p", &previous).await.unwrap_err().to_string();
    assert!(
        refused.contains("previous terminated container \"c\" in pod \"p\" not found"),
        "{refused}"
    );
}

#[tokio::test]
async fn exec_connects_input_output_and_status() {
    let server = TlsServer::start().await;
    let pods = pods_with_one(&server).await;
    let interactive = AttachParams::default().stdin(true).stdout(true).stderr(false);
    let mut cat = pods.exec("p", ["cat"], &interactive).await.unwrap();
    let mut input = cat.stdin().unwrap();
    input.write_all(b"through the container").await.unwrap();
    input.shutdown().await.unwrap();
    drop(input);
    let mut echoed = String::new();
    cat.stdout().unwrap().read_to_string(&mut echoed).await.unwrap();
    assert_eq!(echoed, "through the container");
}

#[tokio::test]
async fn exec_tells_the_exit_code() {
    let server = TlsServer::start().await;
    let pods = pods_with_one(&server).await;
    let mut failed = pods.exec("p", ["false"], &AttachParams::default()).await.unwrap();
    let status = failed.take_status().unwrap();
    let mut error = String::new();
    failed.stderr().unwrap().read_to_string(&mut error).await.unwrap();
    assert_eq!(error, "no\n");
    let status = status.await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    let causes = status.details.unwrap().causes.unwrap();
    assert_eq!(
        (causes[0].reason.as_deref(), causes[0].message.as_deref()),
        (Some("ExitCode"), Some("3"))
    );
}
