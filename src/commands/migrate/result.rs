//! What a migration has come to.

use std::fmt::Write as _;

use indicatif::BinaryBytes;

use super::follow::Seen;
use crate::{
    contract::{orchestrator::Details, workload::Pause},
    wrap::wrap,
};

/// Where what is said stands beside the word that it is about.
const INDENT: &str = "           ";
/// A completed migration in at most `width` columns: the new pod, the pause, the step, the bytes.
pub(super) fn text(seen: &Seen, node: &str, width: u16) -> String {
    let details = &seen.migration.details;
    let mut text = String::new();
    let mut line = |word: &str, said: &str| {
        let _ = writeln!(text, "{}", wrap(&format!("{word:<10} {said}"), width, INDENT));
    };
    line("completed", &took(details.duration));
    if let Some(pod) = &details.new_pod_name {
        line("pod", &format!("{pod} on {node}"));
    }
    let parts = details.pause.unwrap_or_default();
    line("pause", &pause(details, &parts));
    if let Some(standby) = parts.standby_seconds {
        line(
            "standby",
            &format!("both pods were there for {standby:.2} s before the target took over"),
        );
    }
    for (container, checkpoint) in &details.checkpoints {
        let (step, bytes) = (checkpoint.step, BinaryBytes(checkpoint.bytes));
        let files = match checkpoint.files {
            1 => "1 file".to_owned(),
            files => format!("{files} files"),
        };
        line(
            "step",
            &format!("{container} goes on from step {step}: {bytes} in {files}"),
        );
    }
    text
}

fn took(nanoseconds: Option<i64>) -> String {
    let seconds = nanoseconds.map(|nanoseconds| nanoseconds as f64 / 1e9);
    seconds.map_or_else(String::new, |seconds| format!("in {seconds:.2} s"))
}

/// For how long nothing was trained, and what it consisted of.
fn pause(details: &Details, parts: &Pause) -> String {
    let total = details.pause_seconds();
    let total = total.map_or_else(|| "unknown: its steps are not told".to_owned(), time);
    let parts: Vec<_> = parts
        .phases()
        .into_iter()
        .filter_map(|(name, seconds)| Some(format!("{name} {}", time(seconds?))))
        .collect();
    if parts.is_empty() {
        total
    } else {
        format!("{total}: {}", parts.join(", "))
    }
}

fn time(seconds: f64) -> String {
    match seconds * 1e3 {
        milliseconds if milliseconds < 9.95 => format!("{milliseconds:.1} ms"),
        milliseconds if milliseconds < 99.5 => format!("{milliseconds:.0} ms"),
        _ => format!("{seconds:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(change: impl FnOnce(&mut Value)) -> Seen {
        let at = |second: &str| format!("2026-11-28T10:00:{second}Z");
        let step = |name: &str, start: &str, end: &str| json!({"name": name, "start_time": at(start), "end_time": at(end)});
        let mut object = json!({
            "migration_id": "migration-1f0c3a9e", "status": "completed", "message": "the target has taken over",
            "details": {
                "start_time": at("00"), "end_time": at("05"), "duration": 5_000_000_000_i64,
                "new_pod_name": "trainer-migrated-1764353812",
                "steps": [step("create", "00", "01"), step("checkpoint", "02", "02.25"), step("handover", "02.25", "02.5"),
                          step("drain", "02.5", "05")],
                "checkpoints": {"trainer": {"step": 1405, "directory": "d", "files": 4, "bytes": 12_582_912, "digest": "x"}},
            }
        });
        change(&mut object);
        Seen::of(object).unwrap()
    }

    #[test]
    fn the_pause_is_told_with_what_it_consisted_of() {
        let seen = seen(|object| {
            object["details"]["pause"] = json!({
                "quiesce_seconds": 0.01, "write_seconds": 0.1, "sync_seconds": 0.05, "read_seconds": 0.12,
                "claim_seconds": 0.0051, "first_step_seconds": 0.06, "command_seconds": 0.02, "standby_seconds": 1.5
            });
        });
        insta::assert_snapshot!(text(&seen, "ai-storage-worker-01", 80), @r"
        completed  in 5.00 s
        pod        trainer-migrated-1764353812 on ai-storage-worker-01
        pause      0.37 s: quiesce 10 ms, write 0.10 s, sync 50 ms, command 20 ms, read
                   and verify 0.12 s, claim 5.1 ms, first step 60 ms
        standby    both pods were there for 1.50 s before the target took over
        step       trainer goes on from step 1405: 12.00 MiB in 4 files
        ");
    }

    #[test]
    fn a_pause_that_is_not_told_whole_is_that_of_the_orchestrators_clock() {
        let seen = seen(|object| object["details"]["pause"] = json!({"write_seconds": 0.1}));
        let text = text(&seen, "n", 80);
        assert!(text.contains("pause      0.50 s: write 0.10 s\n"), "{text}");
    }

    #[test]
    fn what_is_not_told_is_not_made_up() {
        let seen = seen(|object| object["details"]["steps"] = json!([]));
        let text = text(&seen, "n", 80);
        assert!(
            text.contains("pause      unknown: its steps are not told\n"),
            "{text}"
        );
    }
}
