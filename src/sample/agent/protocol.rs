//! What passes between harness and agent: one JSON object a line. A connection begins with a `hello`, answered by a
//! `welcome`; then every call has one answer of the same number, and events come in between.
//!
//! Calls are numbered from 1 within a session. One whose answer got lost is sent again under its number, and the agent
//! answers it again without doing it twice. Events are numbered, too; the `hello` of a later connection says which were
//! seen.

use serde::{Deserialize, Serialize};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
use uuid::Uuid;

use super::Wire;
use crate::{
    record::reading::{ContainerRef, Epoch, EpochId, Sweep},
    sample::Schedule,
};

/// Version of the protocol; harness and agent must agree.
pub const VERSION: u32 = 1;
/// The port an agent listens on, on the loopback of its pod.
pub const PORT: u16 = 9187;
/// The longest line. A sweep of a hundred containers takes a third of it.
const LONGEST: usize = 128 * 1024;

/// Number of a call, from 1; 0 is a sign of life that nobody waits for.
pub type CallId = u64;
/// Number of an event within a session, from 1.
pub type EventId = u64;
/// Number of a schedule, chosen by the harness.
pub type ScheduleId = u64;

/// The first line of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub protocol: u32,
    /// The session to open or to take up again.
    pub session: Uuid,
    /// The last event that was seen; 0: none yet.
    pub seen: EventId,
}

/// The answer to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Welcome {
    /// Calls may follow.
    Welcome {
        /// How the node mounts cgroups, in the words of [`crate::record::reading::Description`].
        cgroup: String,
        /// Whether the session was known: its epochs and its schedule are still there.
        resumed: bool,
    },
    /// The agent closes the connection.
    Refused {
        /// Why.
        reason: String,
    },
}

/// A request of the harness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its number.
    pub id: CallId,
    /// What is wanted.
    pub request: Request,
}

/// What the harness may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// The agent's clock.
    Clock,
    /// The agent's own CPU time.
    Cost,
    /// Find a container's cgroup and read it from the next tick on.
    Follow {
        /// Its epoch.
        epoch: EpochId,
        /// The container.
        container: ContainerRef,
    },
    /// Close all epochs.
    Forget,
    /// Take readings; moments are on the agent's clock.
    Start {
        /// The schedule's number.
        number: ScheduleId,
        /// When.
        schedule: Schedule,
    },
    /// Take no more readings.
    Stop {
        /// The schedule's number.
        number: ScheduleId,
    },
    /// Close the session.
    Bye,
}

/// A line of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// To a call.
    Answer {
        /// The call's number.
        id: CallId,
        /// The answer.
        answer: Answer,
    },
    /// Of its own accord.
    Event {
        /// The event's number.
        id: EventId,
        /// What happened.
        event: Event,
    },
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// To [`Request::Clock`].
    Clock {
        /// `CLOCK_MONOTONIC` when the call was read, nanoseconds.
        received_ns: u64,
        /// `CLOCK_MONOTONIC` when the answer was written, nanoseconds.
        answered_ns: u64,
    },
    /// To [`Request::Cost`]: CPU time of the agent's process so far, microseconds.
    Cost(u64),
    /// To [`Request::Follow`].
    Epoch(Epoch),
    /// It was done.
    Done,
    /// It could not be done.
    Refused(String),
}

/// What the agent tells unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Readings were taken; stamps are on the agent's clock.
    Sweep {
        /// The schedule's number.
        number: ScheduleId,
        /// The readings.
        sweep: Sweep,
    },
    /// A schedule came to its end.
    End {
        /// The schedule's number.
        number: ScheduleId,
        /// Why it ended before its time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

/// A connection cut into lines.
pub type Lines<W> = Framed<W, LinesCodec>;

/// Cut a connection into lines.
pub fn lines<W: Wire>(wire: W) -> Lines<W> {
    Framed::new(wire, LinesCodec::new_with_max_length(LONGEST))
}

/// Write a value as a line.
pub async fn write<W: Wire>(lines: &mut Lines<W>, value: &impl Serialize) -> Result<(), LinesCodecError> {
    let text = serde_json::to_string(value).map_err(std::io::Error::other)?;
    futures::SinkExt::send(lines, text).await
}

/// Read a line as a value; `None` when the other side has closed.
pub async fn read<W: Wire, T: for<'de> Deserialize<'de>>(
    lines: &mut Lines<W>,
) -> Result<Option<T>, LinesCodecError> {
    match futures::StreamExt::next(lines).await.transpose()? {
        Some(text) => Ok(Some(serde_json::from_str(&text).map_err(std::io::Error::other)?)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::reading::Segment;

    #[test]
    fn a_call_is_one_line_of_json() {
        let schedule = Schedule {
            segment: Segment::Before,
            first_ns: 17,
            interval: Duration::from_millis(1500),
            ticks: None,
        };
        let call = Call {
            id: 3,
            request: Request::Start { number: 9, schedule },
        };
        let text = serde_json::to_string(&call).unwrap();
        insta::assert_snapshot!(text, @r#"{"id":3,"request":{"start":{"number":9,"schedule":{"segment":"before","first_ns":17,"interval":{"secs":1,"nanos":500000000},"ticks":null}}}}"#);
        assert_eq!(serde_json::from_str::<Call>(&text).unwrap(), call);
        let text = serde_json::to_string(&Call {
            id: 4,
            request: Request::Clock,
        })
        .unwrap();
        assert_eq!(text, r#"{"id":4,"request":"clock"}"#);
    }

    #[tokio::test]
    async fn what_is_written_is_read_until_the_other_side_closes() {
        let (here, there) = tokio::io::duplex(64);
        let (mut here, mut there) = (lines(here), lines(there));
        let answer = Message::Answer {
            id: 1,
            answer: Answer::Cost(5),
        };
        write(&mut here, &answer).await.unwrap();
        assert_eq!(read(&mut there).await.unwrap(), Some(answer));
        drop(here);
        assert_eq!(read::<_, Message>(&mut there).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_that_is_no_message_is_an_error() {
        let (here, there) = tokio::io::duplex(64);
        let (mut here, mut there) = (lines(here), lines(there));
        write(&mut here, &"nonsense").await.unwrap();
        let error = read::<_, Message>(&mut there).await.unwrap_err();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }
}
