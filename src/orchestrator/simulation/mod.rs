//! A cluster for tests: the embedded API with a kubelet that runs no processes and only plays what would happen.

mod cluster;
mod gate;
mod kubelet;

use std::sync::{Arc, atomic::Ordering};

use axum::middleware;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::Value;
use tokio::task::JoinHandle;

use self::{
    cluster::{furnish, in_process, patch_status},
    gate::Gate,
    kubelet::{PlayedKubelet, Stage, play, status_of},
};
use super::{
    fixtures,
    ongoing::{Limits, Settings},
    service::Service,
};
use crate::{
    contract::{orchestrator::resource::Migration, workload::TakeOver},
    embedded::api::Api as Embedded,
};

/// What goes otherwise than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The checkpoint command exits with 1.
    HookFails,
    /// The checkpoint command never ends.
    HookHangs,
    /// The checkpoint command prints something else than a manifest.
    HookPrintsRubbish,
    /// The API server refuses to create the target pod.
    CreateRefused,
    /// The target's image cannot be pulled.
    ImageMissing,
    /// The init container finds a wrong hash.
    CheckpointCorrupt,
    /// The target does not see what the processor has produced.
    OutputsMissing,
    /// The same, and the application claims no epochs.
    OutputsMissingWithoutEpochs,
    /// The init container is killed without a word.
    VerificationKilled,
    /// The target trains from step 1.
    StartsFromZero,
    /// The target restores, and then makes no step.
    NoNewStep,
    /// The target ends with an error.
    TargetCrashes,
    /// The source goes on during the migration.
    HoldExpires,
    /// The source is deleted by somebody else while the checkpoint is verified.
    SourceDeleted,
    /// The API server refuses to delete the source.
    DeleteRefused,
    /// The target pod is created, but the answer is lost.
    CreateAnswerLost,
    /// The source's deletion is accepted, but the answer is lost and the API server is away for five minutes.
    ApiAwayAtCutOver,
    /// The source's deletion is accepted, but its answer says that it was forbidden.
    DeleteAnsweredForbidden,
    /// The source's node does not end it.
    SourceStays,
    /// The source's log cannot be read; its application claims epochs.
    SourceLogAway,
    /// The same, and it claims none.
    SourceLogAwayWithoutEpochs,
    /// The application claims no epochs.
    WithoutEpochs,
    /// The same, and the target trains from step 1.
    WithoutEpochsFromZero,
    /// The target's image is missing, and the API server refuses to delete the target until it is [`Simulation::mend`]ed.
    TargetDeleteRefused,
    /// The target does not say that it stands by.
    NeverReady,
    /// It says so once the source is gone.
    ReadyOnceAlone,
    /// The source is deleted by somebody else while its checkpoint command runs, which never ends.
    SourceDiesInCheckpoint,
    /// The take-over command never answers.
    TakeOverHangs,
    /// It answers once the source is gone.
    TakesOverOnceAlone,
    /// It does not answer the first time.
    FirstTakeOverHangs,
    /// It exits with 1, and prints what nobody shall read.
    TakeOverFails,
    /// It exits with 1, having found a wrong hash.
    TakeOverCorrupt,
    /// The source has claimed the epoch: the target ends with 76.
    ClaimLost,
    /// The take-over command never answers, and neither node ends a pod.
    BothCutOff,
}

/// When the orchestrator is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kill {
    /// Before its n-th request that changes something has reached the API server.
    Before(usize),
    /// After it was carried out, and before its answer.
    After(usize),
}

/// A running cluster: `job` is armed on `gpu`, and `worker` is free.
pub(super) struct Simulation {
    client: Client,
    stage: Arc<Stage>,
    gate: Gate,
    playing: JoinHandle<()>,
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.playing.abort();
    }
}

impl Simulation {
    /// A cluster in which everything goes as it should.
    pub(super) async fn start() -> Self {
        Self::with(Fault::None).await
    }

    /// A cluster in which something goes wrong.
    pub(super) async fn with(fault: Fault) -> Self {
        Self::killing(fault, false, None).await
    }

    /// The same with an application that can stand by.
    pub(super) async fn standing_by(fault: Fault) -> Self {
        Self::killing(fault, true, None).await
    }

    /// A cluster in which something goes wrong, whose application can stand by or not, and whose first orchestrator is
    /// killed.
    pub(super) async fn killing(fault: Fault, standby: bool, kill: Option<Kill>) -> Self {
        let api = Embedded::new();
        let stage = Arc::new(Stage::new(fault, standby));
        api.attach_kubelet(Arc::new(PlayedKubelet::new(Arc::clone(&stage), api.client())));
        furnish(&api.client(), &stage).await;
        let playing = tokio::spawn(play(api.client(), Arc::clone(&stage)));
        let gate = Gate::new(fault, kill);
        let layer = middleware::from_fn_with_state(gate.clone(), Gate::pass);
        Self {
            client: in_process(api.router().layer(layer)),
            stage,
            gate,
            playing,
        }
    }

    /// A client for the orchestrator.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// A service that works on it, and after which nobody takes over if it is `private`.
    pub(super) fn service(&self, private: bool) -> Service {
        self.service_with(|settings| settings.private = private)
    }

    /// A service that was told something else than usual.
    pub(super) fn service_with(&self, change: impl FnOnce(&mut Settings)) -> Service {
        let mut settings = Settings {
            verify_image: "migbench".to_owned(),
            limits: Limits::default(),
            lease: None,
            namespaces: Vec::new(),
            private: false,
        };
        change(&mut settings);
        Service::start(self.client(), settings)
    }

    /// Wait until the orchestrator is to be killed; from then on nothing of the request that this came by is answered.
    pub(super) async fn killed(&self) {
        self.gate.killed.cancelled().await;
    }

    /// What containers that stand by were told.
    pub(super) fn told(&self) -> Vec<TakeOver> {
        self.stage.told.lock().unwrap().clone()
    }

    /// Whether the checkpoint hook was run in the source.
    pub(super) fn held(&self) -> bool {
        self.stage.held.load(Ordering::Relaxed)
    }

    /// Whether the source was released beside a target, or a target is left beside a released source.
    pub(super) fn two_writers(&self) -> bool {
        self.stage.two_writers.load(Ordering::Relaxed)
    }

    /// From now on nothing goes wrong between the orchestrator and the API server.
    pub(super) fn mend(&self) {
        self.gate.mended.store(true, Ordering::Relaxed);
    }

    /// Delete a pod as somebody else does.
    pub(super) async fn delete(&self, name: &str) {
        let pods = Api::<Pod>::namespaced(self.client(), "ml");
        pods.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The migrations' objects.
    pub(super) fn migrations(&self) -> Api<Migration> {
        Api::namespaced(self.client(), "ml")
    }

    /// Whether the release hook was run in the source.
    pub(super) fn released(&self) -> bool {
        self.stage.released.load(Ordering::Relaxed)
    }

    /// Put the source's processor into a state.
    pub(super) async fn set_processor(&self, state: &Value) {
        let mut status = serde_json::to_value(fixtures::pod().status).unwrap();
        status["containerStatuses"][1] = status_of("processor", state);
        patch_status(&Api::<Pod>::namespaced(self.client(), "ml"), "job", &status).await;
    }

    /// Every pod there is.
    pub(super) async fn pods(&self) -> Vec<Pod> {
        let pods = Api::<Pod>::all(self.client());
        pods.list(&ListParams::default()).await.unwrap().items
    }

    /// The names of all pods.
    pub(super) async fn pod_names(&self) -> Vec<String> {
        self.pods().await.iter().map(ResourceExt::name_any).collect()
    }
}
