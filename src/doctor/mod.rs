//! What a cluster must have before a run on it makes sense.
//!
//! Facts are read first, from the API and from short-lived pods on the two nodes ([`examine`]). The checks then judge
//! them without touching the cluster: facts → findings. A fact that could not be read carries the reason, and the check
//! that needs it says "skipped".

mod admission;
mod ask;
mod cgroup;
mod clocks;
mod examine;
mod finding;
mod hardware;
mod image;
mod load;
mod network;
mod nodes;
mod probe;
mod reading;
mod render;
mod rights;
mod room;
mod shell;
mod storage;
mod tools;
mod versions;
mod volume;

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};

pub(crate) use self::finding::Question;
use self::{
    admission::Admission, image::Pulled, network::Service, probe::Probed, rights::Rights, storage::Storage,
    tools::Tools, volume::Shared,
};
pub use self::{
    examine::{examine, place},
    finding::{Finding, Status},
    render::{json, table},
};
use crate::{
    deploy::place::Place, k8s::access::Connection, migrate::endpoint::Endpoint, run::settings::Site,
    scenario::Scenario,
};

/// A fact, or why it is not known.
type Known<T> = Result<T, String>;

/// Why something that has to be tried is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// It was not tried: the API server refused, or the image is missing.
    Untried(String),
    /// It was tried in vain.
    Failed(String),
}

impl Trouble {
    /// The reason, where the difference does not matter.
    fn reason(self) -> String {
        match self {
            Self::Untried(why) | Self::Failed(why) => why,
        }
    }

    /// The same, with what was being done.
    fn while_at(self, doing: &str) -> Self {
        match self {
            Self::Untried(why) => Self::Untried(format!("{doing}: {why}")),
            Self::Failed(why) => Self::Failed(format!("{doing}: {why}")),
        }
    }
}

/// Who is examined, and for what.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The cluster.
    pub connection: Connection,
    /// Whether it is the embedded one.
    pub embedded: bool,
    /// What is to be run, and how.
    pub intent: Intent,
}

/// What is to be run, and how.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The scenario.
    pub scenario: Scenario,
    /// What is particular to the cluster.
    pub site: Site,
    /// Somebody else's orchestrator.
    pub orchestrator: Option<Endpoint>,
    /// Whether hardware below the minimum fails.
    pub strict: bool,
    /// How long a pod may take to start; pulling its image is in it.
    pub patience: Duration,
}

impl Subject {
    /// The two nodes that the scenario uses.
    fn nodes(&self) -> [&str; 2] {
        self.intent.scenario.nodes()
    }
}

/// Everything that was read.
#[derive(Debug)]
struct Facts {
    subject: Subject,
    /// The scenario's CPU scaled to the smaller of its nodes, and the factor.
    scaled: Known<(Scenario, f64)>,
    version: Known<String>,
    tools: Tools,
    nodes: Known<Vec<Node>>,
    /// The pods of all namespaces.
    pods: Known<Vec<Pod>>,
    rights: Rights,
    orchestrator: Known<Service>,
    server_clock: Known<clocks::Offset>,
    probed: [Probed; 2],
    images: Vec<Pulled>,
    storage: Storage,
    shared: Result<Shared, Trouble>,
    admission: Admission,
}

/// A group of checks: a pure function of the facts.
type Check = fn(&Facts) -> Vec<Finding>;

/// All checks, in the order of the report.
const CHECKS: [Check; 12] = [
    versions::judge,
    nodes::judge,
    hardware::judge,
    cgroup::judge,
    room::judge,
    network::judge,
    storage::judge,
    image::judge,
    rights::judge,
    admission::judge,
    clocks::judge,
    load::judge,
];

/// What the doctor says.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the scenario that it was examined for.
    pub scenario: String,
    /// The outcome of every check.
    pub findings: Vec<Finding>,
}

impl Report {
    fn of(facts: &Facts) -> Self {
        Self {
            cluster: facts.subject.connection.name.clone(),
            scenario: facts.subject.intent.scenario.name.clone(),
            findings: CHECKS.iter().flat_map(|check| check(facts)).collect(),
        }
    }

    /// The findings of one status.
    pub fn with(&self, status: Status) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.status == status)
    }
}
