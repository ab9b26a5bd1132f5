//! Kubelets that run nothing: pods that are bound start, those that are deleted end, and containers speak.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, sleep_until},
};

use super::{
    Fault, nanoseconds,
    world::{Life, PROCESSOR, STEP, TRAINER, World},
};
use crate::embedded::{ContainerKey, ExecRequest, ExecSession, Kubelet, LogOptions};

pub(super) async fn make_node(client: &Client, name: &str) {
    let nodes = Api::<Node>::all(client.clone());
    let amounts = json!({"cpu": "4", "memory": "32Gi", "pods": "110"});
    let status = json!({"allocatable": amounts, "capacity": amounts,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Played", "message": "",
            "lastHeartbeatTime": null, "lastTransitionTime": null}]});
    let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
    let node = serde_json::from_value(node).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let patch = Patch::Merge(json!({"status": status}));
    nodes
        .patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Play the kubelets: start pods that are bound, end pods that are deleted.
pub(super) async fn play(client: Client, world: Arc<World>) {
    let all = Api::<Pod>::all(client.clone());
    let mut changes = watcher(all, watcher::Config::default()).boxed();
    let (mut begun, mut ending) = (BTreeSet::new(), BTreeSet::new());
    let mut tasks = JoinSet::new();
    while let Some(Ok(change)) = changes.next().await {
        let (watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) = change else {
            continue;
        };
        let pods = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap());
        let uid = pod.uid().unwrap();
        if pod.metadata.deletion_timestamp.is_some() {
            if ending.insert(uid) {
                tasks.spawn(end(pods, pod, world.clone()));
            }
        } else if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) && begun.insert(uid) {
            tasks.spawn(begin(pods, pod, world.clone()));
        }
    }
}

async fn begin(pods: Api<Pod>, pod: Pod, world: Arc<World>) {
    sleep(Duration::from_secs(1)).await;
    let (name, uid) = (pod.name_any(), pod.uid().unwrap());
    let names: Vec<_> = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| container.name.clone())
        .collect();
    let now = world.now_ns();
    let source = world.lives().into_iter().rfind(|life| life.container == TRAINER);
    let first_step = world.first_step();
    let restored = source
        .filter(|_| name.ends_with("-migrated"))
        .map(|life| life.step(now));
    world
        .lives
        .lock()
        .unwrap()
        .extend(names.iter().map(|container| Life {
            pod: name.clone(),
            uid: uid.clone(),
            container: container.clone(),
            since_ns: now,
            first_step,
            until_ns: None,
            restored,
        }));
    show(&pods, &name, &uid, &world).await;
    if let Some(work) = work(&pod) {
        sleep(work).await;
        // The pod may have gone, and another one of its name be there.
        if world.end(|life| life.uid == uid && life.container == PROCESSOR) {
            show(&pods, &name, &uid, &world).await;
        }
    }
    if !name.ends_with("-migrated") && world.strikes(Fault::ContainerLost) {
        sleep(Duration::from_secs(10)).await;
        world.end(|life| life.uid == uid && life.container == TRAINER);
        show(&pods, &name, &uid, &world).await;
    }
}

/// How long the processor works, as its manifest says.
fn work(pod: &Pod) -> Option<Duration> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let processor = containers
        .into_iter()
        .find(|container| container.name == PROCESSOR)?;
    let mut arguments = processor.args.iter().flatten();
    let told = arguments.find_map(|argument| argument.strip_prefix("--duration="));
    Some(humantime::parse_duration(told.unwrap()).unwrap())
}

/// Tell the API server what the pod's containers do. The pod may have gone.
async fn show(pods: &Api<Pod>, name: &str, uid: &str, world: &World) {
    let statuses: Vec<_> = world
        .lives()
        .into_iter()
        .filter(|life| life.uid == uid)
        .map(|life| {
            let code = match life.container.as_str() {
                PROCESSOR => 0,
                _ => 143,
            };
            let state = match life.until_ns {
                None => json!({"running": {}}),
                Some(_) => json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }}}),
            };
            json!({"name": life.container, "state": state, "ready": life.until_ns.is_none(), "restartCount": 0,
                "image": "migbench", "imageID": "", "containerID": format!("played://{uid}-{}", life.container)})
        })
        .collect();
    let patch = Patch::Merge(json!({"status": {"phase": "Running", "containerStatuses": statuses}}));
    let _ = pods.patch_status(name, &PatchParams::default(), &patch).await;
}

async fn end(pods: Api<Pod>, pod: Pod, world: Arc<World>) {
    let (name, uid) = (pod.name_any(), pod.uid().unwrap());
    sleep(Duration::from_millis(500)).await;
    world.end(|life| life.uid == uid);
    show(&pods, &name, &uid, &world).await;
    let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
}

/// Answers for the output of the containers that are played.
#[derive(Debug)]
pub(super) struct Played(pub(super) Arc<World>);

impl Kubelet for Played {
    fn logs(
        &self,
        key: ContainerKey,
        _: LogOptions,
    ) -> BoxFuture<'static, Result<mpsc::Receiver<Vec<u8>>, String>> {
        let world = self.0.clone();
        let meant = |life: &Life| life.pod == key.pod && life.container == key.container;
        let life = world.lives().into_iter().rfind(meant);
        let (sender, receiver) = mpsc::channel(8);
        if let Some(life) = life {
            tokio::spawn(speak(world, life, sender));
        }
        std::future::ready(Ok(receiver)).boxed()
    }

    fn exec(&self, _: ExecRequest) -> BoxFuture<'static, Result<ExecSession, String>> {
        std::future::ready(Err("nothing is run here".into())).boxed()
    }
}

/// What a container says, from its beginning to its end.
async fn speak(world: Arc<World>, life: Life, to: mpsc::Sender<Vec<u8>>) {
    let until_end = |world: Arc<World>, life: Life| async move {
        loop {
            let now = world.lives();
            let same = now
                .iter()
                .find(|now| now.uid == life.uid && now.container == life.container);
            if same.is_none_or(|now| now.until_ns.is_some()) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let say = async |line: Value| to.send(format!("{line}\n").into_bytes()).await.is_ok();
    match life.container.as_str() {
        PROCESSOR => {
            until_end(world, life).await;
            // Output lags behind; nothing in a run happens in the very moment in which a container ends.
            sleep(Duration::from_millis(200)).await;
            say(json!({"event": "done", "outputs": ["/data/0"]})).await;
        }
        TRAINER if world.fault != Fault::Silent => {
            let over = until_end(world.clone(), life.clone());
            let talk = async {
                if let Some(step) = life.restored {
                    say(json!({"event": "restored", "step": step, "from": "/ckpt"})).await;
                }
                let first = life.since_ns + nanoseconds(life.first_step);
                for number in 1.. {
                    sleep_until(world.at(first + nanoseconds(STEP) * number)).await;
                    let step = life.restored.unwrap_or(0) + number;
                    let cut = number == 10 && life.restored.is_some() && world.strikes(Fault::LogCut);
                    if cut || !say(json!({"event": "step", "step": step, "t": 0.0})).await {
                        return;
                    }
                }
            };
            tokio::select! {
                () = over => {}
                () = talk => {}
            }
        }
        _ => until_end(world, life).await,
    }
}
