//! The rounds of a run: scenario × strategy × round, one leg after the other.

use super::{
    Error, Run,
    leg::Leg,
    notice::{Expected, LegHead, Notice},
    order::PlannedLeg,
};
use crate::record::run::RunRecord;

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
        self.notices.send(Notice::RunEnded(self.notices.clock().now()));
        Ok(self.notices.flush().await?)
    }

    fn leg(&self, planned: &PlannedLeg) -> Leg<'_> {
        let (source, target) = self.scenario.direction(planned.reversed);
        let (name, strategy) = &self.strategies[planned.strategy];
        let head = LegHead {
            round: planned.round,
            position: planned.position,
            of: self.of,
            strategy: (*name).to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            pod: self.scenario.pod.metadata.name.clone().unwrap_or_default(),
        };
        Leg::new(self, &**strategy, head)
    }
}
