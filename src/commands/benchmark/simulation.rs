//! A cluster for tests of whole runs: the embedded API, kubelets that run nothing and only play what would happen, a meter
//! that reads what they play, and an orchestrator's work as a strategy. Its only clock is that of the paused runtime.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    deploy::place::Place,
    embedded::{ContainerKey, ExecRequest, ExecSession, Kubelet, LogOptions, api::Api as Embedded},
    k8s::{access::Connection, apply, wait},
    migrate::{self, Definition, Strategy},
    record::{
        clock::{Clock, Stamp},
        outcome::Outcome,
        reading::{ContainerRef, Counters, Description, Epoch, EpochId, Reading, Segment, Sweep},
    },
    run::{
        self,
        backend::{Backend, Cluster},
        orchestrator::Orchestrator,
    },
    sample::{self, Meter, Schedule},
};

/// What goes otherwise than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The API server refuses to have a pod made.
    DeployRefused,
    /// The trainer says nothing.
    Silent,
    /// The trainer of the source is killed while `before` is measured.
    ContainerLost,
    /// The agent of the target's node goes while `after` is measured.
    AgentGone,
    /// The stream of the migrated trainer's output breaks.
    LogCut,
    /// The watch breaks as the leg's pods are deleted, cannot be taken up again, and the pods are gone before the next list.
    WatchExpired,
    /// The API server refuses to delete the leg's pods.
    RemovalRefused,
}

/// Monotonic time of the first moment, nanoseconds.
const ORIGIN_NS: u64 = 1_000_000_000_000;
/// From the start of a container to its trainer's first step.
const FIRST_STEP: Duration = Duration::from_secs(2);
/// Time of a step.
const STEP: Duration = Duration::from_millis(500);
/// How long the processor works.
const WORK: Duration = Duration::from_secs(45);

/// One life of one container.
#[derive(Debug, Clone)]
struct Life {
    pod: String,
    uid: String,
    container: String,
    since_ns: u64,
    until_ns: Option<u64>,
    /// The step that it goes on from.
    restored: Option<u64>,
}

impl Life {
    /// Millicores, and bytes of anonymous memory.
    fn takes(&self) -> (u64, u64) {
        match self.container.as_str() {
            "tensorflow-trainer" => (576, 510 << 20),
            "data-processor" => (252, 279 << 20),
            _ => (72, 200 << 20),
        }
    }

    fn lives_at(&self, ns: u64) -> bool {
        self.since_ns <= ns && self.until_ns.is_none_or(|until| ns < until)
    }

    fn counters(&self, ns: u64) -> Counters {
        let (millicores, bytes) = self.takes();
        let lived_us = self.until_ns.unwrap_or(ns).min(ns).saturating_sub(self.since_ns) / 1000;
        let memory = Some(if self.lives_at(ns) { bytes } else { 0 });
        Counters {
            usage_usec: Some(lived_us * millicores / 1000),
            user_usec: Some(lived_us * millicores / 1000),
            system_usec: Some(0),
            nr_throttled: Some(0),
            throttled_usec: Some(0),
            memory_current: memory,
            memory_anon: memory,
            memory_file: Some(0),
            memory_inactive_file: Some(0),
            memory_peak: memory,
            oom_kill: Some(0),
            pressure_cpu_usec: Some(0),
            pids_current: Some(1),
        }
    }

    /// The last step made by then.
    fn step(&self, ns: u64) -> u64 {
        let trained = ns.saturating_sub(self.since_ns + nanoseconds(FIRST_STEP));
        self.restored.unwrap_or(0) + trained / nanoseconds(STEP)
    }
}

/// What is played, seen by kubelets and meter alike.
#[derive(Debug)]
struct World {
    fault: Fault,
    origin: Instant,
    lives: Mutex<Vec<Life>>,
    /// Whether the fault has struck, where it strikes once.
    struck: AtomicBool,
    /// Whether a watch was told that it has expired.
    expired: AtomicBool,
    /// Cancelled when watches are cut.
    cut: CancellationToken,
}

impl World {
    fn now_ns(&self) -> u64 {
        ORIGIN_NS + nanoseconds(self.origin.elapsed())
    }

    fn at(&self, ns: u64) -> Instant {
        self.origin + Duration::from_nanos(ns.saturating_sub(ORIGIN_NS))
    }

    fn lives(&self) -> Vec<Life> {
        self.lives.lock().unwrap().clone()
    }

    /// End the lives that `which` means.
    fn end(&self, which: impl Fn(&Life) -> bool) {
        let now = self.now_ns();
        let mut lives = self.lives.lock().unwrap();
        for life in lives
            .iter_mut()
            .filter(|life| life.until_ns.is_none() && which(life))
        {
            life.until_ns = Some(now);
        }
    }

    fn strikes(&self, fault: Fault) -> bool {
        self.fault == fault && !self.struck.swap(true, Ordering::Relaxed)
    }
}

/// A running simulation.
pub(super) struct Simulation {
    world: Arc<World>,
    client: Client,
    /// Past whatever stands between the run and its API server.
    pub(super) direct: Client,
    _playing: JoinSet<()>,
}

impl Simulation {
    pub(super) async fn start(fault: Fault) -> Self {
        let world = Arc::new(World {
            fault,
            origin: Instant::now(),
            lives: Mutex::default(),
            struck: AtomicBool::new(false),
            expired: AtomicBool::new(false),
            cut: CancellationToken::new(),
        });
        let api = Embedded::new();
        api.attach_kubelet(Arc::new(Played(world.clone())));
        for name in ["gpu-server-03", "ai-storage-worker-01"] {
            make_node(&api.client(), name).await;
        }
        let mut playing = JoinSet::new();
        playing.spawn(play(api.client(), world.clone()));
        let router = api
            .router()
            .layer(middleware::from_fn_with_state(world.clone(), gate));
        Self {
            world,
            client: Client::new(router as Router, "default"),
            direct: api.client(),
            _playing: playing,
        }
    }

    pub(super) fn clock(&self) -> Clock {
        let origin = self.world.origin;
        Clock::of(move || Stamp {
            mono_ns: ORIGIN_NS + nanoseconds(origin.elapsed()),
            wall: Timestamp::UNIX_EPOCH + SignedDuration::try_from(origin.elapsed()).unwrap(),
        })
    }

    pub(super) fn cluster(&self) -> Cluster {
        Cluster {
            connection: Connection {
                client: self.client.clone(),
                name: "simulation".into(),
                kubernetes: "v1.35.0".into(),
                endpoint: http::Uri::from_static("http://simulation"),
            },
            backend: Box::new(Scripted(self.world.clone())),
        }
    }
}

#[derive(Debug)]
struct Scripted(Arc<World>);

impl Backend for Scripted {
    fn is_embedded(&self) -> bool {
        true
    }

    fn meter<'a>(
        &'a self,
        _: &'a Place,
        _: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<dyn Meter>, run::Error>> {
        let meter: Arc<dyn Meter> = Arc::new(ScriptedMeter {
            world: self.0.clone(),
            followed: Arc::default(),
        });
        std::future::ready(Ok(meter)).boxed()
    }

    fn orchestrator<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, Result<Orchestrator, run::Error>> {
        unreachable!("no strategy of a simulation needs one")
    }

    fn watch_command(&self, _: &str) -> Option<String> {
        None
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), run::Error>> {
        std::future::ready(Ok(())).boxed()
    }
}

type Followed = Arc<Mutex<Vec<(EpochId, ContainerRef)>>>;

#[derive(Debug)]
struct ScriptedMeter {
    world: Arc<World>,
    followed: Followed,
}

impl Meter for ScriptedMeter {
    fn describe(&self) -> Description {
        Description {
            kind: "scripted".into(),
            cgroup: "v2".into(),
            from_cgroup: true,
            capped: None,
        }
    }

    fn follow(&self, id: EpochId, container: ContainerRef) -> BoxFuture<'_, Result<Epoch, sample::Error>> {
        self.followed.lock().unwrap().push((id, container.clone()));
        let epoch = Epoch {
            id,
            cgroup: Some(format!("/{}/{}", container.pod_uid, container.container)),
            inode: Some(id.into()),
            container,
            missing: [].into(),
        };
        std::future::ready(Ok(epoch)).boxed()
    }

    fn forget(&self) {
        self.followed.lock().unwrap().clear();
    }

    fn sweeps(
        &self,
        schedule: Schedule,
        stop: CancellationToken,
    ) -> mpsc::UnboundedReceiver<Result<Sweep, sample::Error>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (world, followed) = (self.world.clone(), self.followed.clone());
        tokio::spawn(async move {
            let first_ns = schedule.first_ns.max(world.now_ns());
            for tick in 0..schedule.ticks.unwrap_or(u32::MAX) {
                let due_ns = first_ns + nanoseconds(schedule.interval) * u64::from(tick);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep_until(world.at(due_ns)) => {}
                }
                let gone = schedule.segment == Segment::After && tick == 5 && world.strikes(Fault::AgentGone);
                let swept = if gone {
                    Err(sample::Error::Agent {
                        node: "ai-storage-worker-01".into(),
                        reason: "its connection was lost".into(),
                    })
                } else {
                    Ok(sweep(&world, &followed, (schedule.segment, tick, due_ns)))
                };
                if sender.send(swept).is_err() || gone {
                    return;
                }
            }
        });
        receiver
    }
}

fn sweep(world: &World, followed: &Followed, (segment, tick, due_ns): (Segment, u32, u64)) -> Sweep {
    let lives = world.lives();
    let mut sweep = Sweep {
        segment,
        tick,
        due_ns,
        readings: Vec::new(),
        ended: Vec::new(),
    };
    followed.lock().unwrap().retain(|(epoch, of)| {
        let meant = |life: &&Life| life.uid == of.pod_uid && (of.is_pod() || life.container == of.container);
        let meant: Vec<_> = lives.iter().filter(meant).collect();
        if !meant.iter().any(|life| life.lives_at(due_ns)) {
            sweep.ended.push(*epoch);
            return false;
        }
        let parts = meant.iter().map(|life| life.counters(due_ns));
        sweep.readings.push(Reading {
            epoch: *epoch,
            before_ns: due_ns,
            after_ns: due_ns,
            counters: parts.reduce(|left, right| sum(&left, &right)).unwrap(),
            error: None,
        });
        true
    });
    sweep
}

fn sum(left: &Counters, right: &Counters) -> Counters {
    let right: Value = serde_json::to_value(right).unwrap();
    let mut total = serde_json::to_value(left).unwrap();
    for (name, value) in total.as_object_mut().unwrap() {
        *value = json!(value.as_u64().unwrap() + right[name].as_u64().unwrap());
    }
    serde_json::from_value(total).unwrap()
}

async fn make_node(client: &Client, name: &str) {
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
async fn play(client: Client, world: Arc<World>) {
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
    let source = world
        .lives()
        .into_iter()
        .rfind(|life| life.container == "tensorflow-trainer");
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
            until_ns: None,
            restored,
        }));
    show(&pods, &name, &uid, &world).await;
    if names.iter().any(|name| name == "data-processor") {
        sleep(WORK).await;
        world.end(|life| life.uid == uid && life.container == "data-processor");
        show(&pods, &name, &uid, &world).await;
    }
    if !name.ends_with("-migrated") && world.strikes(Fault::ContainerLost) {
        sleep(Duration::from_secs(10)).await;
        world.end(|life| life.uid == uid && life.container == "tensorflow-trainer");
        show(&pods, &name, &uid, &world).await;
    }
}

/// Tell the API server what the pod's containers do. The pod may have gone.
async fn show(pods: &Api<Pod>, name: &str, uid: &str, world: &World) {
    let statuses: Vec<_> = world
        .lives()
        .into_iter()
        .filter(|life| life.uid == uid)
        .map(|life| {
            let code = match life.container.as_str() {
                "data-processor" => 0,
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

/// Stands between the run and its API server.
async fn gate(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let watches = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("watch=true"));
    let of_pods = path.contains("/namespaces/migbench-") && path.contains("/pods");
    let makes = *request.method() == Method::PATCH && of_pods;
    let removes = *request.method() == Method::DELETE && path.ends_with("/pods");
    match world.fault {
        Fault::DeployRefused if makes => return refusal(StatusCode::FORBIDDEN),
        Fault::RemovalRefused if removes && !world.struck.swap(true, Ordering::Relaxed) => {
            return refusal(StatusCode::FORBIDDEN);
        }
        Fault::WatchExpired if removes && world.strikes(Fault::WatchExpired) => {
            let answer = next.run(request).await;
            world.cut.cancel();
            return answer;
        }
        Fault::WatchExpired if of_pods && watches && world.cut.is_cancelled() => {
            // Long enough for the pods to go.
            sleep(Duration::from_secs(5)).await;
            if !world.expired.swap(true, Ordering::Relaxed) {
                return refusal(StatusCode::GONE);
            }
        }
        _ => {}
    }
    let answer = next.run(request).await;
    if of_pods && watches && !world.cut.is_cancelled() {
        let (head, body) = answer.into_parts();
        let until_cut = body
            .into_data_stream()
            .take_until(world.cut.clone().cancelled_owned());
        return Response::from_parts(head, Body::from_stream(until_cut));
    }
    answer
}

fn refusal(code: StatusCode) -> Response {
    let reason = if code == StatusCode::GONE {
        "Expired"
    } else {
        "Forbidden"
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": "simulated", "code": code.as_u16()});
    (code, axum::Json(status)).into_response()
}

/// Answers for the output of the containers that are played.
#[derive(Debug)]
struct Played(Arc<World>);

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
        "data-processor" => {
            until_end(world, life).await;
            // Output lags behind; nothing in a run happens in the very moment in which a container ends.
            sleep(Duration::from_millis(200)).await;
            say(json!({"event": "done", "outputs": ["/data/0"]})).await;
        }
        "tensorflow-trainer" if world.fault != Fault::Silent => {
            let over = until_end(world.clone(), life.clone());
            let talk = async {
                if let Some(step) = life.restored {
                    say(json!({"event": "restored", "step": step, "from": "/ckpt"})).await;
                }
                let first = life.since_ns + nanoseconds(FIRST_STEP);
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

/// An orchestrator's work, done by hand: what still runs is started on the target, then the source is deleted.
pub(super) const ORCHESTRATED: Definition = Definition {
    name: "orchestrator",
    needs_orchestrator: false,
    make: |_| Ok(Arc::new(Orchestrated::Works)),
};

/// One that fails.
pub(super) const FAILING: Definition = Definition {
    name: "orchestrator",
    needs_orchestrator: false,
    make: |_| Ok(Arc::new(Orchestrated::Fails)),
};

/// One that never comes back.
pub(super) const HANGING: Definition = Definition {
    name: "orchestrator",
    needs_orchestrator: false,
    make: |_| Ok(Arc::new(Orchestrated::Hangs)),
};

#[derive(Debug)]
enum Orchestrated {
    Works,
    Fails,
    Hangs,
}

impl Strategy for Orchestrated {
    fn migrate<'a>(
        &'a self,
        request: migrate::Request<'a>,
    ) -> BoxFuture<'a, Result<Outcome, migrate::Error>> {
        match self {
            Self::Works => orchestrate(request).boxed(),
            Self::Fails => std::future::ready(Err(migrate::Error::Failed {
                pod: request.pod.name_any(),
                reason: "the checkpoint is corrupt".into(),
            }))
            .boxed(),
            Self::Hangs => std::future::pending().boxed(),
        }
    }
}

async fn orchestrate(request: migrate::Request<'_>) -> Result<Outcome, migrate::Error> {
    let requested = request.clock.now();
    let mut pod = request.manifest_on_target.clone();
    pod.metadata.name = Some(format!("{}-migrated", pod.name_any()));
    let spec = pod.spec.as_mut().unwrap();
    spec.containers
        .retain(|container| container.name != "data-processor");
    let made = apply::pod(request.client, request.namespace, request.run, &pod).await?;
    let (name, uid) = (made.name_any(), made.uid().unwrap());
    let pods: Api<Pod> = Api::namespaced(request.client.clone(), request.namespace);
    wait::until_running(&pods, &name, &uid, request.timeout).await?;
    let source = request.pod.name_any();
    make_claim(&request, &source).await;
    pods.delete(&source, &DeleteParams::default()).await.unwrap();
    wait::until_gone(&pods, &source, &request.pod.uid().unwrap(), request.timeout).await?;
    Ok(Outcome {
        pod: name,
        pod_uid: uid,
        requested,
        completed: request.clock.now(),
        report: None,
        pause: None,
    })
}

/// A third party's makes one for each migration, and fails where it is there already.
async fn make_claim(request: &migrate::Request<'_>, source: &str) {
    let claim = json!({"metadata": {"name": format!("{source}-migration")},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(request.client.clone(), request.namespace);
    let claim = serde_json::from_value(claim).unwrap();
    claims.create(&PostParams::default(), &claim).await.unwrap();
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap()
}
