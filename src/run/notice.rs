//! How the harness speaks: it sends [`Notice`]s and never prints or writes. Listeners run on a thread of their own, so
//! that neither a slow terminal nor a slow disk can disturb a measurement.

use std::{collections::BTreeMap, sync::mpsc, time::Duration};

use crate::record::{
    clock::{Clock, ClockOffset, Stamp},
    event::{Event, Kind},
    fit::Fit,
    leg::Overhead,
    outcome::Outcome,
    reading::{Epoch, Sweep},
    run::{RunRecord, RunSettings},
    situation::Situation,
};

/// The head of a leg, as listeners see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegHead {
    /// Round, from 1.
    pub round: u32,
    /// Place in the order of the run, from 1.
    pub position: u32,
    /// Legs of the run.
    pub of: u32,
    /// Name of the strategy.
    pub strategy: String,
    /// Node the pod is deployed on.
    pub source: String,
    /// Node it is migrated to.
    pub target: String,
    /// Name of the pod that is deployed.
    pub pod: String,
}

/// What listeners are told before anything happens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// How long a leg is planned to take.
    pub leg: Duration,
    /// How the pods can be watched from another terminal.
    pub watch: Option<String>,
}

/// Settings that were taken since they fit the nodes.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// What is set otherwise, and why.
    pub fit: Fit,
    /// All settings from now on.
    pub settings: RunSettings,
    /// What goes into the run from now on.
    pub inputs: BTreeMap<String, String>,
    /// How long a leg is planned to take now.
    pub leg: Duration,
}

/// Something listeners may want to know.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A run begins; the record has only legs that were run earlier.
    RunStarted(Box<RunRecord>, Expected),
    /// A leg begins.
    LegStarted(LegHead, Stamp),
    /// Something happened in the leg.
    Event(Event),
    /// A cgroup is read from now on.
    Epoch(Epoch),
    /// Readings were taken.
    Sweep(Sweep),
    /// The strategy came to its end.
    Migrated(Outcome),
    /// What the cluster shows as the migration has failed.
    Situation(Situation),
    /// How far a node's clock is.
    Clock(ClockOffset),
    /// What helpers cost during the horizon.
    Overhead(Overhead),
    /// The leg ended, with this error if it failed.
    LegEnded(Stamp, Option<String>),
    /// The settings did not fit the nodes, and others were taken; the legs up to here are given up.
    Fitted(Box<Fitted>),
    /// The run ended.
    RunEnded(Stamp),
}

/// Somebody who hears the notices of a run, in order.
pub trait Listener: Send {
    /// Hear one notice. An error ends the run: a result that cannot be kept is not worth going on for.
    fn hear(&mut self, notice: &Notice) -> anyhow::Result<()>;
}

enum Message {
    Notice(Box<Notice>),
    Flush(mpsc::Sender<anyhow::Result<()>>),
}

/// The sending end: cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct Notices {
    sender: mpsc::Sender<Message>,
    clock: Clock,
}

impl Notices {
    /// Start a thread that hands every notice to all listeners. It ends with the last sender. Events are stamped by `clock`.
    pub fn to(mut listeners: Vec<Box<dyn Listener>>, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut failed = None;
            for message in receiver {
                match message {
                    Message::Notice(notice) => {
                        for listener in &mut listeners {
                            if let Err(error) = listener.hear(&notice) {
                                failed.get_or_insert(error);
                            }
                        }
                    }
                    Message::Flush(answer) => {
                        let _ = answer.send(failed.take().map_or(Ok(()), Err));
                    }
                }
            }
        });
        Self { sender, clock }
    }

    /// Tell the listeners.
    pub fn send(&self, notice: Notice) {
        // The thread ends only after the last sender, so there is always a receiver.
        let _ = self.sender.send(Message::Notice(Box::new(notice)));
    }

    /// Where the moments of events are read.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Tell the listeners of an event that happens now.
    pub fn event(&self, kind: Kind) {
        self.send(Notice::Event(Event {
            at: self.clock.now(),
            kind,
        }));
    }

    /// Wait until everything sent so far has been heard; the first error of a listener comes back here.
    pub async fn flush(&self) -> anyhow::Result<()> {
        let (answer, heard) = mpsc::channel();
        let _ = self.sender.send(Message::Flush(answer));
        // A blocking task, since it is what keeps paused time from going on meanwhile.
        let heard = tokio::task::spawn_blocking(move || heard.recv()).await?;
        heard.unwrap_or_else(|_| Err(anyhow::anyhow!("the listeners' thread ended early")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    struct Ear(Arc<Mutex<Vec<String>>>);

    impl Listener for Ear {
        fn hear(&mut self, notice: &Notice) -> anyhow::Result<()> {
            self.0.lock().unwrap().push(format!("{notice:?}"));
            anyhow::ensure!(!matches!(notice, Notice::RunEnded(_)), "disk full");
            Ok(())
        }
    }

    #[tokio::test]
    async fn flush_comes_after_everything_sent_and_brings_the_first_error() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notices = Notices::to(
            vec![Box::new(Ear(heard.clone())), Box::new(Ear(heard.clone()))],
            Clock::system(),
        );
        notices.event(Kind::Armed);
        notices.flush().await.unwrap();
        assert_eq!(heard.lock().unwrap().len(), 2);
        notices.send(Notice::RunEnded(Stamp::now()));
        assert_eq!(notices.flush().await.unwrap_err().to_string(), "disk full");
        notices.flush().await.unwrap();
    }
}
