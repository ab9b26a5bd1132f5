//! A run: [`settings`] say what was asked for, the [`stage`] is what has to be there before the first leg, [`rounds`] is
//! scenario × strategy × round. It speaks only in [`notice`]s; terminal, progress bar and [`recorder`] listen.

pub mod agents;
pub mod backend;
mod child;
pub mod cluster;
pub mod embedded;
pub mod enter;
pub mod environment;
mod error;
pub mod fit;
pub mod inputs;
mod leg;
pub mod notice;
mod observer;
pub mod orchestrator;
pub mod order;
pub mod overhead;
pub mod plan;
mod readings;
pub mod recorder;
mod removal;
pub mod resume;
pub mod rounds;
pub mod settings;
mod situation;
pub mod stage;

pub use error::Error;

use std::{fmt, sync::Arc};

use self::{notice::Notices, order::PlannedLeg, overhead::Processes, settings::Settings};
use crate::{migrate::Strategy, sample::Meter, scenario::Scenario};

/// A run about to start.
pub struct Run {
    /// UUIDv7.
    pub id: String,
    /// How it was asked for; what does not fit the nodes is set otherwise here.
    pub settings: Settings,
    /// What the smaller of the nodes can give, millicores.
    pub capacity: u64,
    /// What is deployed and measured; CPU limits already scaled.
    pub scenario: Scenario,
    /// The API of the cluster.
    pub client: kube::Client,
    /// How its nodes' counters are read.
    pub meter: Arc<dyn Meter>,
    /// Namespace of the run; everything that is made is made in it.
    pub namespace: String,
    /// Selects the pods under test in it.
    pub pods: String,
    /// Whether the namespace was made for the run, so that all in it may go.
    pub own_namespace: bool,
    /// The strategies with their names, the baseline first.
    pub strategies: Vec<(&'static str, Arc<dyn Strategy>)>,
    /// The legs in order; those that were run earlier are not among them.
    pub legs: Vec<PlannedLeg>,
    /// Legs of the whole run.
    pub of: u32,
    /// How often settings were taken that fit the nodes.
    pub fits: usize,
    /// Whose CPU time is read beside the workload's.
    pub processes: Processes,
    /// Whom to tell, by which clock.
    pub notices: Notices,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
            .field("legs", &self.legs)
            .finish_non_exhaustive()
    }
}
