//! The rounds of a run: scenario × strategy × round, one leg after the other.

use std::sync::Arc;

use super::{
    Error,
    leg::Leg,
    notice::{Expected, LegHead, Notice, Notices},
    order::PlannedLeg,
    overhead::Processes,
};
use crate::{
    migrate::Strategy,
    record::{clock::Clock, run::RunRecord},
    sample::Meter,
    scenario::Scenario,
};

/// A run about to start.
pub struct Run {
    /// UUIDv7.
    pub id: String,
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
    /// The strategies, the baseline first.
    pub strategies: Vec<Arc<dyn Strategy>>,
    /// The legs in order; those that were run earlier are not among them.
    pub legs: Vec<PlannedLeg>,
    /// Legs of the whole run.
    pub of: u32,
    /// Whose CPU time is read beside the workload's.
    pub processes: Processes,
    /// Whom to tell.
    pub notices: Notices,
    /// Where moments are read.
    pub clock: Clock,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
            .field("legs", &self.legs)
            .finish_non_exhaustive()
    }
}

impl Run {
    /// Run the legs. `record` has settings and environment, and the legs that were run earlier.
    pub async fn execute(&self, record: RunRecord, expected: Expected) -> Result<(), Error> {
        self.notices.send(Notice::RunStarted(Box::new(record), expected));
        self.notices.flush().await?;
        for planned in &self.legs {
            let outcome = self.leg(planned).execute().await;
            // Also the record of a leg that failed is kept.
            self.notices.flush().await?;
            outcome?;
        }
        self.notices.send(Notice::RunEnded(self.clock.now()));
        Ok(self.notices.flush().await?)
    }

    fn leg(&self, planned: &PlannedLeg) -> Leg<'_> {
        let (source, target) = self.scenario.direction(planned.reversed);
        let strategy = &*self.strategies[planned.strategy];
        let head = LegHead {
            round: planned.round,
            position: planned.position,
            of: self.of,
            strategy: strategy.name().to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            pod: self.scenario.pod.metadata.name.clone().unwrap_or_default(),
        };
        Leg::new(self, strategy, head)
    }
}
