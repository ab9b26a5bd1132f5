//! Settings as resolved from the command line, the environment and the scenario: checked, complete, and without a trace
//! of clap.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::Timestamp;
use reqwest::Url;
use uuid::Uuid;

use super::{
    cluster::Choice,
    order::{self, PlannedLeg},
    plan::Plan,
};
use crate::{
    deploy::supply::StorageOptions,
    embedded::images::Means,
    migrate::{Definition, endpoint::Credentials},
    record::{
        run::{Environment, Floor, RunRecord, RunSettings, SCHEMA},
        selftest::SelfTest,
    },
    scenario::Scenario,
};

/// Time for what comes before and after the windows of a leg: images, volumes, pods that end.
const BESIDE_A_LEG: Duration = Duration::from_secs(600);

/// What may be particular to a real cluster, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Namespace to run in; without, one is made for the run.
    pub namespace: Option<String>,
    /// Image that holds this program.
    pub image: String,
    /// Where checkpoints are kept.
    pub storage: StorageOptions,
}

/// A run as it was asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// UUIDv7 of the run.
    pub id: String,
    /// The scenario, its CPU limits not yet scaled.
    pub scenario: Scenario,
    /// Which cluster.
    pub choice: Choice,
    /// The strategies, the baseline first.
    pub strategies: Vec<&'static Definition>,
    /// Rounds.
    pub rounds: u32,
    /// Whether a round that is no part of the result comes first.
    pub warmup: bool,
    /// Seed of the order of the legs.
    pub seed: u64,
    /// What is particular to a real cluster.
    pub site: Site,
    /// What the embedded cluster builds with.
    pub means: Means,
    /// Arguments of `migbench run`, as they were written.
    pub arguments: Vec<String>,
    /// Where results are kept.
    pub results: PathBuf,
    /// Address of somebody else's orchestrator.
    pub orchestrator_url: Option<Url>,
    /// What to bring there.
    pub credentials: Credentials,
    /// How often settings that fit the nodes may be taken, where the scenario's do not.
    pub fits: usize,
    /// The self-test that was made for it.
    pub selftest: Option<SelfTest>,
    /// Whether nothing is said while it runs.
    pub quiet: bool,
    /// Whether only the plan is wanted.
    pub dry_run: bool,
}

impl Settings {
    /// A run of these strategies, the baseline first, once and with nothing asked for beside it. The scenario's own image is
    /// taken from where the cluster of choice has it.
    pub fn new(
        mut scenario: Scenario,
        choice: Choice,
        site: Site,
        strategies: Vec<&'static Definition>,
    ) -> Self {
        if choice != Choice::Embedded {
            scenario.use_image(&site.image);
        }
        Self {
            id: Uuid::now_v7().to_string(),
            scenario,
            choice,
            strategies,
            rounds: 1,
            warmup: false,
            seed: rand::random(),
            site,
            means: Means::default(),
            arguments: Vec::new(),
            results: PathBuf::new(),
            orchestrator_url: None,
            credentials: Credentials::default(),
            fits: 0,
            selftest: None,
            quiet: false,
            dry_run: false,
        }
    }

    /// Whether an orchestrator takes part.
    pub fn needs_orchestrator(&self) -> bool {
        self.strategies.iter().any(|strategy| strategy.needs_orchestrator)
    }

    /// The legs in order.
    pub fn legs(&self) -> Vec<PlannedLeg> {
        order::legs(self.rounds, self.warmup, self.strategies.len(), self.seed)
    }

    /// How long the run may take when everything takes as long as it may.
    pub fn longest(&self) -> Duration {
        let (deadlines, phases) = (self.scenario.deadlines, self.scenario.phases);
        let leg = self.scenario.armed_within() * 2
            + deadlines.migration
            + phases.window() * 4
            + phases.settle
            + phases.horizon;
        let legs = u32::try_from(self.legs().len()).unwrap_or(u32::MAX);
        (leg + BESIDE_A_LEG).saturating_mul(legs) + BESIDE_A_LEG
    }

    /// The scenario with its CPU scaled to nodes that have `capacity` millicores, and the factor.
    pub fn scaled(&self, capacity: u64) -> (Scenario, f64) {
        let mut scenario = self.scenario.clone();
        let factor = scenario.scale_cpu(capacity);
        (scenario, factor)
    }

    /// The run as planned, for a scaled scenario.
    pub fn plan<'a>(&self, scaled: &'a Scenario, cpu_scale: Option<f64>) -> Plan<'a> {
        Plan {
            scenario: scaled,
            cluster: self.choice.to_string(),
            cpu_scale,
            strategies: self.strategies.iter().map(|strategy| strategy.name).collect(),
            legs: self.legs(),
        }
    }

    /// The head of the run's record.
    pub fn record(
        &self,
        started: Timestamp,
        scaled: &Scenario,
        cpu_scale: f64,
        environment: Environment,
    ) -> RunRecord {
        RunRecord {
            schema: SCHEMA.into(),
            migbench: env!("CARGO_PKG_VERSION").into(),
            id: self.id.clone(),
            started,
            ended: None,
            resumed: Vec::new(),
            imported: None,
            settings: self.recorded(scaled, cpu_scale),
            environment,
            inputs: BTreeMap::new(),
            floor: self.selftest.as_ref().and_then(Floor::found),
            selftest: self.selftest.clone(),
            fits: Vec::new(),
            legs: Vec::new(),
            abandoned: Vec::new(),
        }
    }

    /// The settings as the record has them.
    pub(super) fn recorded(&self, scaled: &Scenario, cpu_scale: f64) -> RunSettings {
        let phases = &scaled.phases;
        RunSettings {
            scenario: scaled.name.clone(),
            workload: scaled.workload.clone(),
            rounds: self.rounds,
            strategies: self
                .strategies
                .iter()
                .map(|strategy| strategy.name.to_owned())
                .collect(),
            samples: phases.samples,
            certified_samples: Some(scaled.certified_samples),
            warmup: self.warmup,
            interval_ms: milliseconds(phases.interval),
            settle_ms: milliseconds(phases.settle),
            horizon_ms: milliseconds(phases.horizon),
            trim: phases.trim,
            target_reduction: scaled.target_reduction,
            cpu_scale,
            cpu_limits_millicores: scaled.cpu_limits(),
            roles: scaled.roles.clone(),
            placement: Some(scaled.placement.to_string()),
            standby: Some(scaled.orchestrator.standby),
            order_seed: self.seed,
            arguments: self.arguments.clone(),
        }
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
