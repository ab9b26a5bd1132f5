//! Clocks: each node's and the API server's against this host's.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    time::timeout,
};

use super::{
    Facts, Known,
    finding::{Finding, Question},
    shell::Shell,
};

/// Kubernetes states container start and end in whole seconds; more than that puts events in the wrong order.
const TOLERATED_SECONDS: f64 = 1.0;
/// A time that is known no better tells nothing.
const MOST_UNCERTAINTY_SECONDS: f64 = 2.0;
/// The first answer waits for the command to start, which takes long on a busy node.
const QUESTIONS: usize = 5;
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// How far a clock is ahead of this host's, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Offset {
    pub(super) ahead: f64,
    /// It may be this much more or less.
    pub(super) uncertainty: f64,
}

impl Offset {
    /// From a time that was read somewhere between two looks at this host's clock. `resolution` in seconds.
    pub(super) fn between(before: Timestamp, read: f64, after: Timestamp, resolution: f64) -> Self {
        let seconds = |time: Timestamp| time.as_duration().as_secs_f64();
        let (before, after) = (seconds(before), seconds(after));
        Self {
            ahead: read + resolution / 2.0 - f64::midpoint(before, after),
            uncertainty: f64::midpoint(after - before, resolution),
        }
    }
}

/// The clock of the node that a pod runs on: the quickest of some questions and answers over one connection.
pub(super) async fn of_node(shell: &Shell) -> Known<Offset> {
    let asked = timeout(ANSWERED_WITHIN, ask(shell)).await;
    asked.unwrap_or_else(|_| Err("the node took too long to tell its time".to_owned()))
}

async fn ask(shell: &Shell) -> Known<Offset> {
    let lost = || "the connection to the pod was lost".to_owned();
    let mut process = shell.open("while read -r _; do date +%s.%N; done", true).await?;
    let mut questions = process.stdin().ok_or_else(lost)?;
    let mut answers = BufReader::new(process.stdout().ok_or_else(lost)?).lines();
    let mut best: Option<Offset> = None;
    for _ in 0..QUESTIONS {
        let before = Timestamp::now();
        questions.write_all(b"\n").await.map_err(|_| lost())?;
        let answer = answers.next_line().await.ok().flatten().ok_or_else(lost)?;
        let offset = of_date(before, &answer, Timestamp::now())?;
        best = best
            .filter(|best| best.uncertainty <= offset.uncertainty)
            .or(Some(offset));
    }
    process.abort();
    best.ok_or_else(lost)
}

fn of_date(before: Timestamp, date: &str, after: Timestamp) -> Known<Offset> {
    let (read, resolution) = parse_date(date).ok_or_else(|| format!("date printed {:?}", date.trim()))?;
    Ok(Offset::between(before, read, after, resolution))
}

/// Seconds since the epoch and their resolution; small shells know no `%N`.
fn parse_date(text: &str) -> Option<(f64, f64)> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        Some((text.parse().ok()?, 0.0))
    } else {
        Some((whole.parse().ok()?, 1.0))
    }
}

/// The API server's clock, from the `Date` of an answer.
pub(super) fn of_answer(before: Timestamp, date: &str, after: Timestamp) -> Known<Offset> {
    let read = rfc2822::parse(date).map_err(|_| format!("the API server's Date is {date:?}"))?;
    let read = read.timestamp().as_duration().as_secs_f64();
    Ok(Offset::between(before, read, after, 1.0))
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![clock("API server", &facts.server_clock)];
    findings.extend(
        facts
            .probed
            .iter()
            .map(|probed| clock(&probed.node, &probed.clock)),
    );
    findings
}

fn clock(whose: &str, offset: &Known<Offset>) -> Finding {
    let question = Question::new("clock", "within 1 s of this host's").on(whose);
    match offset {
        Err(why) => question.skipped(why),
        Ok(Offset { uncertainty, .. }) if *uncertainty > MOST_UNCERTAINTY_SECONDS => {
            question.skipped(format!("not told better than ±{uncertainty:.1} s"))
        }
        Ok(Offset { ahead, uncertainty }) => question.ok_if(
            ahead.abs() - uncertainty <= TOLERATED_SECONDS,
            format!("{ahead:+.3} s (±{uncertainty:.3} s)"),
            "run an NTP client (chrony, systemd-timesyncd) on the nodes and on this host",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_offset_is_taken_from_the_middle() {
        let offset = Offset::between(at(100), 103.0, at(102), 0.0);
        assert!((offset.ahead - 2.0).abs() < 1e-9 && (offset.uncertainty - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_date_of_whole_seconds_is_half_a_second_less_certain() {
        let date = "Tue, 24 Nov 2026 22:30:57 GMT";
        let now: Timestamp = "2026-11-24T22:30:57Z".parse().unwrap();
        let offset = of_answer(now, date, now).unwrap();
        assert!((offset.ahead - 0.5).abs() < 1e-6 && (offset.uncertainty - 0.5).abs() < 1e-6);
        assert!(of_answer(now, "yesterday", now).is_err());
    }

    #[test]
    fn dates_with_and_without_nanoseconds() {
        assert_eq!(parse_date("100.500000000\n"), Some((100.5, 0.0)));
        assert_eq!(parse_date("100.%N\n"), Some((100.0, 1.0)));
        assert_eq!(parse_date("soon"), None);
    }

    #[test]
    fn only_what_is_certainly_off_warns() {
        let judged = |ahead, uncertainty| clock("n", &Ok(Offset { ahead, uncertainty })).status;
        assert_eq!(judged(0.2, 0.1), Status::Ok);
        assert_eq!(judged(-1.3, 0.5), Status::Ok);
        assert_eq!(judged(-1.6, 0.5), Status::Warning);
        assert_eq!(judged(9.0, 2.1), Status::Skipped);
        assert_eq!(clock("n", &Err("no pod".into())).status, Status::Skipped);
    }
}
