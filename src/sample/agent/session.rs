//! What the agent keeps of one harness, whether it is connected or not.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio_util::sync::CancellationToken;

use super::{
    own_cpu_usec,
    protocol::{Answer, Call, CallId, Event, EventId, Request, ScheduleId},
};
use crate::{
    record::clock::monotonic_ns,
    sample::{Meter, Schedule, local::LocalMeter},
};

/// Events kept for a connection that comes again: 8 minutes of the densest schedule (4 a second).
const KEPT_EVENTS: usize = 2048;
/// Answers kept for calls that come again.
const KEPT_ANSWERS: usize = 256;

/// One harness.
#[derive(Debug)]
pub(super) struct Session {
    meter: LocalMeter,
    answers: AsyncMutex<VecDeque<(CallId, Answer)>>,
    schedules: Mutex<HashMap<ScheduleId, CancellationToken>>,
    log: Mutex<Log>,
    last_event: watch::Sender<EventId>,
    connection: Mutex<CancellationToken>,
}

#[derive(Debug, Default)]
struct Log {
    last: EventId,
    events: VecDeque<(EventId, Event)>,
}

impl Session {
    pub(super) fn new(meter: LocalMeter) -> Arc<Self> {
        Arc::new(Self {
            meter,
            answers: AsyncMutex::default(),
            schedules: Mutex::default(),
            log: Mutex::default(),
            last_event: watch::Sender::new(0),
            connection: Mutex::default(),
        })
    }

    /// A new connection takes the session over: the token of the one before is cancelled.
    pub(super) fn take_over(&self) -> CancellationToken {
        let mine = CancellationToken::new();
        let before = std::mem::replace(&mut *lock(&self.connection), mine.clone());
        before.cancel();
        mine
    }

    /// Tells the number of the last event whenever there is a new one.
    pub(super) fn news(&self) -> watch::Receiver<EventId> {
        self.last_event.subscribe()
    }

    /// The events after `seen`; `None` when some of them were dropped.
    pub(super) fn events_after(&self, seen: EventId) -> Option<Vec<(EventId, Event)>> {
        let log = lock(&self.log);
        let first_kept = log.last + 1 - log.events.len() as u64;
        (seen + 1 >= first_kept).then(|| log.events.iter().filter(|(id, _)| *id > seen).cloned().collect())
    }

    /// Answer a call; one that was answered before is not done again.
    pub(super) async fn answer(self: &Arc<Self>, call: Call, received_ns: u64) -> Answer {
        let mut answers = self.answers.lock().await;
        if let Some((_, known)) = answers.iter().find(|(id, _)| *id == call.id) {
            return known.clone();
        }
        let answer = self.carry_out(call.request, received_ns).await;
        if call.id > 0 {
            answers.push_back((call.id, answer.clone()));
        }
        if answers.len() > KEPT_ANSWERS {
            answers.pop_front();
        }
        answer
    }

    async fn carry_out(self: &Arc<Self>, request: Request, received_ns: u64) -> Answer {
        match request {
            Request::Clock => Answer::Clock {
                received_ns,
                answered_ns: monotonic_ns(),
            },
            Request::Cost => {
                own_cpu_usec().map_or_else(|error| Answer::Refused(error.to_string()), Answer::Cost)
            }
            Request::Follow { epoch, container } => match self.meter.follow(epoch, container).await {
                Ok(epoch) => Answer::Epoch(epoch),
                Err(error) => Answer::Refused(error.to_string()),
            },
            Request::Forget => {
                self.meter.forget();
                Answer::Done
            }
            Request::Start { number, schedule } => {
                self.start(number, schedule);
                Answer::Done
            }
            Request::Stop { number } => {
                if let Some(stop) = lock(&self.schedules).get(&number) {
                    stop.cancel();
                }
                Answer::Done
            }
            Request::Bye => {
                self.end();
                Answer::Done
            }
        }
    }

    fn start(self: &Arc<Self>, number: ScheduleId, schedule: Schedule) {
        let stop = CancellationToken::new();
        lock(&self.schedules).insert(number, stop.clone());
        let mut sweeps = self.meter.sweeps(schedule, stop);
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let mut error = None;
            while let Some(taken) = sweeps.recv().await {
                match taken {
                    Ok(sweep) => session.log(Event::Sweep { number, sweep }),
                    Err(reason) => error = Some(reason.to_string()),
                }
            }
            lock(&session.schedules).remove(&number);
            session.log(Event::End { number, error });
        });
    }

    fn log(&self, event: Event) {
        let mut log = lock(&self.log);
        log.last += 1;
        let id = log.last;
        log.events.push_back((id, event));
        if log.events.len() > KEPT_EVENTS {
            log.events.pop_front();
        }
        self.last_event.send_replace(id);
    }

    /// Take no more readings and close all files.
    pub(super) fn end(&self) {
        for (_, stop) in lock(&self.schedules).drain() {
            stop.cancel();
        }
        self.meter.forget();
    }
}

/// A panic elsewhere does not spoil what is behind these locks: every change is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{record::reading::Segment, sample::mounts::Mounts};

    fn session() -> Arc<Session> {
        Session::new(LocalMeter::cgroups(Mounts::default()))
    }

    fn call(id: CallId, request: Request) -> Call {
        Call { id, request }
    }

    #[tokio::test]
    async fn a_call_that_comes_again_is_not_done_again() {
        let session = session();
        let cost = session.answer(call(1, Request::Cost), 0).await;
        assert_eq!(session.answer(call(1, Request::Cost), 0).await, cost);
        let clock = |received_ns| session.answer(call(0, Request::Clock), received_ns);
        assert_ne!(clock(1).await, clock(2).await, "signs of life are not kept");
    }

    #[tokio::test]
    async fn a_schedule_goes_on_while_nobody_is_connected_and_ends_with_a_word() {
        let session = session();
        let schedule = Schedule {
            segment: Segment::Tail,
            first_ns: 0,
            interval: Duration::from_millis(1),
            ticks: Some(3),
        };
        session
            .answer(call(1, Request::Start { number: 7, schedule }), 0)
            .await;
        session.news().wait_for(|last| *last == 4).await.unwrap();
        let events = session.events_after(1).unwrap();
        let ids: Vec<_> = events.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [2, 3, 4]);
        let end = Event::End {
            number: 7,
            error: None,
        };
        assert_eq!(events[2].1, end);
    }

    #[test]
    fn what_was_dropped_is_not_passed_over_in_silence() {
        let session = session();
        for number in 0..=KEPT_EVENTS as u64 {
            session.log(Event::End { number, error: None });
        }
        assert_eq!(session.events_after(0), None);
        assert_eq!(session.events_after(1).unwrap().len(), KEPT_EVENTS);
        assert!(session.events_after(KEPT_EVENTS as u64 + 1).unwrap().is_empty());
    }

    #[test]
    fn a_new_connection_ends_the_one_before() {
        let session = session();
        let first = session.take_over();
        let second = session.take_over();
        assert!(first.is_cancelled() && !second.is_cancelled());
    }
}
