//! A reader in one container, as the harness holds it: its connection and how far its clock is.

use std::{fmt, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_util::codec::LinesCodecError;

use super::{
    Enter, Refused,
    block::{self, Block},
};
use crate::{
    record::{
        clock::{ClockOffset, monotonic_ns},
        reading::ContainerRef,
    },
    sample::agent::{
        Wire,
        offset::{self, RoundTrip},
        protocol::{self, Lines},
    },
};

/// Where a container sees its own cgroup.
pub(super) const CGROUP: &str = "/sys/fs/cgroup";
/// How long a reader may take to start: it waits for a CPU in the container's own quota.
const START: Duration = Duration::from_secs(20);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Round trips that a clock's offset is chosen from; each is charged to the container.
const ROUND_TRIPS: usize = 5;

/// A running reader.
#[derive(Debug)]
pub(super) struct Reader {
    enter: Arc<dyn Enter>,
    container: ContainerRef,
    process: Process,
    offset: ClockOffset,
    cpu_usec: Option<u64>,
}

impl Reader {
    /// Start a reader in a container, and measure its clock.
    pub(super) async fn start(
        enter: Arc<dyn Enter>,
        container: ContainerRef,
    ) -> Result<(Self, Block), Refused> {
        let mut process = Process::start(&*enter, &container).await?;
        let (offset, block) = process.clock(&name(&container)).await?;
        let reader = Self {
            enter,
            container,
            process,
            offset,
            cpu_usec: block.cpu_usec,
        };
        Ok((reader, block))
    }

    /// What it is: `python3`, `sh`, `migbench`.
    pub(super) fn kind(&self) -> &str {
        &self.process.kind
    }

    /// Whose it is, for people.
    pub(super) fn name(&self) -> String {
        name(&self.container)
    }

    /// Its own CPU time when it last told, microseconds.
    pub(super) fn cpu_usec(&self) -> Option<u64> {
        self.cpu_usec
    }

    /// Read the counters; stamps are on the harness's clock. A reader that was lost is started again, once.
    pub(super) async fn read(&mut self) -> Result<Block, Refused> {
        let mut block = match self.process.ask().await {
            Ok((block, _)) => block,
            Err(Unanswered::Late) => return Err(Unanswered::Late.into()),
            Err(Unanswered::Lost(reason)) => {
                tracing::warn!(container = self.name(), reason, "reader lost, starting another");
                self.process = Process::start(&*self.enter, &self.container).await?;
                self.process.ask().await?.0
            }
        };
        self.cpu_usec = block.cpu_usec;
        block.before_ns = self.offset.here(block.before_ns);
        block.after_ns = self.offset.here(block.after_ns);
        Ok(block)
    }

    /// Measure its clock again.
    pub(super) async fn clock(&mut self) -> Result<ClockOffset, Refused> {
        let name = self.name();
        (self.offset, _) = self.process.clock(&name).await?;
        Ok(self.offset.clone())
    }
}

fn name(container: &ContainerRef) -> String {
    format!("{}/{}", container.pod, container.container)
}

/// The running command.
struct Process {
    lines: Lines<Box<dyn Wire>>,
    kind: String,
    /// Steps of its clock, nanoseconds.
    resolution_ns: u64,
    /// Number of the last question.
    question: u64,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    /// It may still come; the numbers tell it from the answers to later questions.
    #[error("no answer within {} s", ANSWER.as_secs())]
    Late,
    /// The process or the connection has ended.
    #[error("{0}")]
    Lost(String),
}

impl From<Unanswered> for Refused {
    fn from(reason: Unanswered) -> Self {
        Self::Failed(reason.to_string())
    }
}

impl From<LinesCodecError> for Unanswered {
    fn from(error: LinesCodecError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The commands to try, in order: a shell, which hands over to Python where there is one; else this program, whose image
/// has no shell.
fn commands() -> [Vec<String>; 2] {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut shell: Vec<String> = owned(&[
        "sh",
        "-c",
        include_str!("reader.sh"),
        "sh",
        include_str!("reader.py"),
        CGROUP,
    ]);
    shell.extend(block::files().map(str::to_owned));
    [
        shell,
        owned(&["migbench", "agent", "--inside", "--cgroup-root", CGROUP]),
    ]
}

impl Process {
    async fn start(enter: &dyn Enter, container: &ContainerRef) -> Result<Self, Refused> {
        let mut reasons = Vec::new();
        for command in commands() {
            match Self::greeted(enter, container, &command).await {
                Err(Refused::Failed(reason)) => reasons.push(format!("{}: {reason}", command[0])),
                other => return other,
            }
        }
        let reasons = reasons.join("; ");
        Err(Refused::Failed(format!("no reader runs in it: {reasons}")))
    }

    /// The first line says what runs: `@reader python3 0`.
    async fn greeted(
        enter: &dyn Enter,
        container: &ContainerRef,
        command: &[String],
    ) -> Result<Self, Refused> {
        let mut lines = protocol::lines(enter.enter(container, command).await?);
        let greeting = timeout(START, lines.next()).await;
        let late = |_| Refused::Failed(format!("silent for {} s", START.as_secs()));
        let line = match greeting.map_err(late)? {
            Some(line) => line.map_err(|error| Refused::Failed(error.to_string()))?,
            None => return Err(Refused::Failed("it ended at once".into())),
        };
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["@reader", kind, resolution] => Ok(Self {
                lines,
                kind: kind.to_owned(),
                resolution_ns: resolution.parse().unwrap_or_default(),
                question: 0,
            }),
            _ => Err(Refused::Failed(line)),
        }
    }

    async fn clock(&mut self, of: &str) -> Result<(ClockOffset, Block), Refused> {
        let mut trips = Vec::with_capacity(ROUND_TRIPS);
        let mut last = Block::default();
        for _ in 0..ROUND_TRIPS {
            let (block, trip) = self.ask().await?;
            trips.push(trip);
            last = block;
        }
        let mut offset = offset::best(of, &trips).ok_or(Refused::Gone)?;
        offset.error_ns += self.resolution_ns;
        Ok((offset, last))
    }

    async fn ask(&mut self) -> Result<(Block, RoundTrip), Unanswered> {
        self.question += 1;
        let sent_ns = monotonic_ns();
        self.lines.send(self.question.to_string()).await?;
        let answered = timeout(ANSWER, self.answer()).await;
        let lines = answered.map_err(|_| Unanswered::Late)??;
        let returned_ns = monotonic_ns();
        let unread = || Unanswered::Lost(format!("not understood: {}", lines.join(" ")));
        let mut block = block::parse(&lines).ok_or_else(unread)?;
        // A clock that moves in steps has shown the last one.
        block.after_ns += self.resolution_ns;
        let trip = RoundTrip {
            sent_ns,
            received_ns: block.before_ns,
            answered_ns: block.after_ns,
            returned_ns,
        };
        Ok((block, trip))
    }

    /// The lines that answer the last question; what answers earlier ones, which were not waited for, is dropped.
    async fn answer(&mut self) -> Result<Vec<String>, Unanswered> {
        let end = format!("@end {}", self.question);
        let mut lines = Vec::new();
        while let Some(line) = self.lines.next().await {
            match line? {
                line if line == end => return Ok(lines),
                line if line.starts_with("@end ") => lines.clear(),
                line => lines.push(line),
            }
        }
        Err(Unanswered::Lost("it ended".into()))
    }
}
