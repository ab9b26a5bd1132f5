//! Ready is not success: a migrated container has taken over once it has reported the restored step and then a new one.

use crate::{
    contract::workload::Progress,
    orchestrator::failure::{Failure, Reason},
};

/// What is known of a container that shall go on from a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// The step of the checkpoint; a container that is started again may go on from a later one of its own.
    expected: u64,
    restored: Option<u64>,
}

impl Handshake {
    /// Expect that the container goes on from `step`.
    pub fn expecting(step: u64) -> Self {
        Self {
            expected: step,
            restored: None,
        }
    }

    /// Take in one event, in the order of the log. The new step once the container has taken over.
    ///
    /// # Errors
    /// The container does something else than go on from the checkpoint.
    pub fn observe(&mut self, event: &Progress) -> Result<Option<u64>, Failure> {
        let expected = self.expected;
        match (event, self.restored) {
            (&Progress::Restored { step, .. }, _) if step < expected => {
                return Err(Failure::new(
                    Reason::RestoredWrongStep,
                    format!("restored step {step}, the checkpoint holds step {expected}"),
                ));
            }
            (&Progress::Restored { step, .. }, _) => self.restored = Some(step),
            (Progress::Step { step, .. }, None) => {
                return Err(from_zero(format!("reports step {step} without having restored")));
            }
            (Progress::Step { step, .. }, Some(restored)) if *step <= restored => {
                return Err(from_zero(format!(
                    "repeats step {step} although it restored step {restored}"
                )));
            }
            (&Progress::Step { step, .. }, Some(_)) => return Ok(Some(step)),
            (Progress::Done { .. } | Progress::Cpu { .. }, _) => {}
        }
        Ok(None)
    }
}

fn from_zero(what: String) -> Failure {
    Failure::new(Reason::RestoredFromZero, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Progress {
        Progress::Step { step, t: 0.0 }
    }

    fn restored(step: u64) -> Progress {
        Progress::Restored {
            step,
            from: "/ckpt/g".into(),
        }
    }

    fn outcome(events: &[Progress]) -> Result<Option<u64>, Reason> {
        let mut handshake = Handshake::expecting(120);
        let mut seen = None;
        for event in events {
            seen = handshake.observe(event).map_err(|failure| failure.reason)?;
        }
        Ok(seen)
    }

    #[test]
    fn restored_and_a_new_step_is_success() {
        assert_eq!(outcome(&[restored(120)]), Ok(None));
        assert_eq!(outcome(&[restored(120), step(121)]), Ok(Some(121)));
    }

    #[test]
    fn training_from_zero_fails_although_it_runs() {
        assert_eq!(outcome(&[step(1)]), Err(Reason::RestoredFromZero));
        assert_eq!(outcome(&[step(121)]), Err(Reason::RestoredFromZero));
        assert_eq!(
            outcome(&[restored(120), step(120)]),
            Err(Reason::RestoredFromZero)
        );
    }

    #[test]
    fn an_earlier_step_is_another_checkpoint() {
        assert_eq!(outcome(&[restored(119)]), Err(Reason::RestoredWrongStep));
    }

    #[test]
    fn a_container_that_was_started_again_goes_on_from_a_later_one_of_its_own() {
        assert_eq!(outcome(&[restored(125), step(126)]), Ok(Some(126)));
        assert_eq!(
            outcome(&[restored(125), step(125)]),
            Err(Reason::RestoredFromZero)
        );
    }
}
