//! The two clusters, and a namespace of its own for each body.

use std::{
    fs::File,
    future::Future,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{conditions::is_deleted, wait::await_condition},
};
use migbench::{embedded::Handshake, install::IMAGE};
use serde_json::json;
use tokio::{sync::RwLock, time::timeout};

use crate::case::Case;

/// A busy machine takes long to start a container.
const WITHIN: Duration = Duration::from_secs(300);

/// What measures a real cluster takes this for writing, and whatever else works on one takes it for reading.
pub(crate) static QUIET: RwLock<()> = RwLock::const_new(());

/// Run a body on the embedded cluster of this test program.
pub(crate) async fn on_embedded<F>(body: impl FnOnce(Case) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    run(embedded(), "migbench".into(), body).await;
}

/// Run a body on the real cluster, if one is named.
pub(crate) async fn on_real<F>(body: impl FnOnce(Case) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(kubeconfig) = std::env::var_os("MIGBENCH_TEST_KUBECONFIG") else {
        crate::skip::skip("MIGBENCH_TEST_KUBECONFIG names no cluster");
        return;
    };
    let image = std::env::var("MIGBENCH_TEST_IMAGE").unwrap_or_else(|_| IMAGE.into());
    run(Path::new(&kubeconfig), image, body).await;
}

async fn run<F>(kubeconfig: &Path, image: String, body: impl FnOnce(Case) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let _not_while_measured = QUIET.read().await;
    let client = connect(kubeconfig).await;
    let nodes = worker_nodes(&client).await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = create_namespace(&namespaces).await;
    let case = Case {
        namespace: namespace.name_any(),
        nodes,
        image,
        client,
    };
    // In a task of its own, so that the namespace goes also when the body panics.
    let outcome = timeout(WITHIN, tokio::spawn(body(case))).await;
    remove(namespaces, &namespace).await;
    if let Err(failed) = outcome.expect("the body ends in time") {
        std::panic::resume_unwind(failed.into_panic());
    }
}

async fn connect(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

async fn create_namespace(namespaces: &Api<Namespace>) -> Namespace {
    let labels = json!({"app.kubernetes.io/part-of": "migbench-contract-tests"});
    let metadata = json!({"generateName": "migbench-contract-", "labels": labels});
    let namespace = serde_json::from_value(json!({"metadata": metadata})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap()
}

async fn remove(namespaces: Api<Namespace>, namespace: &Namespace) {
    let (name, uid) = (namespace.name_any(), namespace.uid().unwrap());
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    let gone = timeout(WITHIN, await_condition(namespaces, &name, is_deleted(&uid))).await;
    gone.expect("the namespace goes").unwrap();
}

/// Two nodes that take any pod.
async fn worker_nodes(client: &Client) -> [String; 2] {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.unwrap();
    let untainted = |node: &Node| node.spec.as_ref().is_none_or(|spec| spec.taints.is_none());
    let mut usable = nodes.items.into_iter().filter(untainted);
    let mut next = || usable.next().expect("two nodes without taints").name_any();
    [next(), next()]
}

/// One embedded cluster serves all tests. It removes itself when this program ends, and with it the child's stdin.
struct Embedded {
    kubeconfig: PathBuf,
    _child: Child,
}

fn embedded() -> &'static Path {
    static EMBEDDED: OnceLock<Embedded> = OnceLock::new();
    &EMBEDDED.get_or_init(start_embedded).kubeconfig
}

fn start_embedded() -> Embedded {
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract-embedded.log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_migbench"))
        .args(["cluster", "up", "--private"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(log).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let handshake: Handshake = serde_json::from_str(&line).expect("the embedded cluster is up");
    Embedded {
        kubeconfig: handshake.kubeconfig,
        _child: child,
    }
}
