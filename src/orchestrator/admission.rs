//! Who may begin: the oldest migration that the limits leave room for. Those that an orchestrator before this one has
//! begun are not kept waiting.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::ongoing::Limits;

/// When a migration was accepted, and what tells it from others of that second.
type Turn = (Timestamp, String);

/// What is limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// When the migration was accepted.
    pub accepted: Timestamp,
    /// Uid of its object.
    pub uid: String,
    /// Both nodes.
    pub nodes: [String; 2],
}

/// The queue, and what is at work.
#[derive(Debug, Clone)]
pub struct Admission {
    limits: Limits,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Turn, Ticket>,
    working: BTreeMap<Turn, Ticket>,
}

/// A migration's place in the queue or at work, until it is dropped.
#[derive(Debug)]
pub struct Place {
    admission: Admission,
    turn: Turn,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        state.waiting.remove(&self.turn);
        state.working.remove(&self.turn);
        drop(state);
        self.admission.changed.notify_waiters();
    }
}

impl Ticket {
    fn turn(&self) -> Turn {
        (self.accepted, self.uid.clone())
    }
}

impl State {
    fn has_room(&self, ticket: &Ticket, limits: &Limits) -> bool {
        let involved = |node: &String| {
            let on_it = self.working.values().filter(|other| other.nodes.contains(node));
            on_it.count() < limits.per_node
        };
        self.working.len() < limits.at_work && ticket.nodes.iter().all(involved)
    }
}

impl Admission {
    /// Nobody waits, and nothing is at work.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Wait for the turn.
    pub async fn enter(&self, ticket: Ticket) -> Place {
        let place = self.place(&ticket);
        self.lock().waiting.insert(ticket.turn(), ticket);
        loop {
            let changed = self.changed.notified();
            if self.begin(&place.turn) {
                // There may be room for the next one.
                self.changed.notify_waiters();
                return place;
            }
            changed.await;
        }
    }

    /// Go on at once: it was begun already.
    pub fn resume(&self, ticket: Ticket) -> Place {
        let place = self.place(&ticket);
        self.lock().working.insert(ticket.turn(), ticket);
        place
    }

    /// Whether it is this one's turn; then it is at work.
    fn begin(&self, turn: &Turn) -> bool {
        let mut state = self.lock();
        let first = state
            .waiting
            .iter()
            .find(|(_, ticket)| state.has_room(ticket, &self.limits));
        if first.is_none_or(|(first, _)| first != turn) {
            return false;
        }
        let ticket = state.waiting.remove(turn);
        state.working.extend(ticket.map(|ticket| (turn.clone(), ticket)));
        true
    }

    fn place(&self, ticket: &Ticket) -> Place {
        Place {
            admission: self.clone(),
            turn: ticket.turn(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn ticket(second: i64, nodes: [&str; 2]) -> Ticket {
        Ticket {
            accepted: Timestamp::from_second(second).unwrap(),
            uid: format!("uid-{second}"),
            nodes: nodes.map(str::to_owned),
        }
    }

    fn admission(at_work: usize, per_node: usize) -> Admission {
        Admission::new(Limits {
            at_work,
            per_node,
            ..Limits::default()
        })
    }

    #[test]
    fn no_more_than_the_limit_are_at_work_and_the_oldest_goes_first() {
        let admission = admission(1, 9);
        let first = admission.enter(ticket(1, ["a", "b"])).now_or_never().unwrap();
        let mut third = Box::pin(admission.enter(ticket(3, ["c", "d"])));
        let mut second = Box::pin(admission.enter(ticket(2, ["e", "f"])));
        assert!((&mut third).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        drop(first);
        assert!((&mut third).now_or_never().is_none());
        let second = (&mut second).now_or_never().unwrap();
        drop(second);
        assert!(third.now_or_never().is_some());
    }

    #[test]
    fn a_full_node_does_not_hold_up_the_others() {
        let admission = admission(9, 1);
        let _first = admission.enter(ticket(1, ["a", "b"])).now_or_never().unwrap();
        let mut blocked = Box::pin(admission.enter(ticket(2, ["c", "a"])));
        assert!((&mut blocked).now_or_never().is_none());
        assert!(admission.enter(ticket(3, ["c", "d"])).now_or_never().is_some());
    }

    #[test]
    fn who_gives_up_waiting_leaves_no_trace() {
        let admission = admission(1, 9);
        let first = admission.enter(ticket(1, ["a", "b"])).now_or_never().unwrap();
        let waiting = admission.enter(ticket(2, ["a", "b"])).now_or_never();
        assert!(waiting.is_none());
        drop(first);
        assert!(admission.enter(ticket(3, ["a", "b"])).now_or_never().is_some());
    }

    #[test]
    fn what_was_begun_before_goes_on_and_counts() {
        let admission = admission(1, 9);
        let resumed = admission.resume(ticket(2, ["a", "b"]));
        let mut waiting = Box::pin(admission.enter(ticket(1, ["a", "b"])));
        assert!((&mut waiting).now_or_never().is_none());
        drop(resumed);
        assert!(waiting.now_or_never().is_some());
    }
}
