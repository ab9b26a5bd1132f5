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
    ///
    /// Where one of the first round does not fit the nodes, other settings are taken as often as may be, and it begins anew with
    /// the first leg; later it does not, since rounds with other settings would not be comparable.
    pub async fn execute(mut self, record: RunRecord, expected: Expected) -> Result<(), Error> {
        let may_fit = record.legs.is_empty();
        self.notices.send(Notice::RunStarted(Box::new(record), expected));
        self.notices.flush().await?;
        let mut next = 0;
        while let Some(planned) = self.legs.get(next) {
            let in_first_round = planned.round == self.legs[0].round;
            let outcome = self.leg(planned).execute().await;
            // Also the record of a leg that failed is kept.
            self.notices.flush().await?;
            match outcome {
                Err(Error::Misfit(misfit)) if may_fit && in_first_round && self.fits < self.settings.fits => {
                    self.take(&misfit)?;
                    next = 0;
                }
                outcome => {
                    outcome?;
                    next += 1;
                }
            }
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
