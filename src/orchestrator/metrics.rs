//! What the service counts, for Prometheus at `/metrics`. Counts are of this process; they begin at 0 with it.

use std::fmt::Write;

use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::contract::orchestrator::{Migration, Status};

/// What the answer is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    phase: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    path: String,
    code: u16,
}

/// Histograms by label.
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Counters and histograms, and the registry that writes them down.
#[derive(Debug)]
pub struct Recorder {
    registry: Registry,
    ended: Family<Ended, Counter>,
    durations: Histograms<Result>,
    phases: Histograms<Step>,
    pause: Histogram,
    bytes: Histogram,
    running: Gauge,
    queued: Gauge,
    requests: Family<Request, Counter>,
}

/// From a tenth of a second to 14 minutes: a hook on a small model, and a migration with a slow pull.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.1, 2.0, 14))
}

impl Default for Recorder {
    fn default() -> Self {
        let mut recorder = Self {
            registry: Registry::with_prefix("migbench_orchestrator"),
            ended: Family::default(),
            durations: Histograms::new_with_constructor(seconds),
            phases: Histograms::new_with_constructor(seconds),
            pause: seconds(),
            // From 1 MiB to 4 TiB.
            bytes: Histogram::new(exponential_buckets(1_048_576.0, 4.0, 12)),
            running: Gauge::default(),
            queued: Gauge::default(),
            requests: Family::default(),
        };
        recorder.register();
        recorder
    }
}

impl Recorder {
    fn register(&mut self) {
        let registry = &mut self.registry;
        let ended = "Migrations that have ended, by result and the reason of a failure";
        registry.register("migrations", ended, self.ended.clone());
        let durations = "Time from the request to the end of a migration";
        registry.register_with_unit(
            "migration_duration",
            durations,
            Unit::Seconds,
            self.durations.clone(),
        );
        let phases = "Time that one phase of a migration took";
        registry.register_with_unit("phase_duration", phases, Unit::Seconds, self.phases.clone());
        let pause =
            "Time without progress of training: from the checkpoint hook to the target's first new step";
        registry.register_with_unit("pause", pause, Unit::Seconds, self.pause.clone());
        let bytes = "Size of all checkpoints of a migration";
        registry.register_with_unit("checkpoint", bytes, Unit::Bytes, self.bytes.clone());
        registry.register("migrations_running", "Migrations under way", self.running.clone());
        let queued = "Migrations that were accepted and have not begun";
        registry.register("migrations_queued", queued, self.queued.clone());
        let requests = "Answered requests, by method, route and status code";
        registry.register("http_requests", requests, self.requests.clone());
    }

    /// Count a migration that has ended.
    pub fn ended(&self, migration: &Migration) {
        let details = &migration.details;
        let result = match migration.status {
            Status::Completed => "completed",
            Status::Cancelled => "cancelled",
            Status::Failed | Status::Pending | Status::Running => "failed",
        };
        let reason = details.reason.clone().unwrap_or_default();
        self.ended.get_or_create(&Ended { result, reason }).inc();
        let took = |start, end: Option<Timestamp>| end.map(|end| end.duration_since(start).as_secs_f64());
        if let Some(took) = took(details.start_time, details.end_time) {
            self.durations.get_or_create(&Result { result }).observe(took);
        }
        for step in &details.steps {
            if let Some(took) = took(step.start_time, step.end_time) {
                let phase = step.name.clone();
                self.phases.get_or_create(&Step { phase }).observe(took);
            }
        }
        if let Some(pause) = pause(migration) {
            self.pause.observe(pause);
        }
        let checkpoints = details.checkpoints.values();
        let bytes: f64 = checkpoints.map(|checkpoint| checkpoint.bytes as f64).sum();
        if !details.checkpoints.is_empty() {
            self.bytes.observe(bytes);
        }
    }

    /// Count a request that was answered. `path` is the route, not what was asked for: there are few of them.
    pub fn answered(&self, method: &http::Method, path: Option<&str>, code: http::StatusCode) {
        let method = match *method {
            http::Method::GET => "GET",
            http::Method::POST => "POST",
            http::Method::DELETE => "DELETE",
            _ => "other",
        };
        let request = Request {
            method,
            path: path.unwrap_or("other").to_owned(),
            code: code.as_u16(),
        };
        self.requests.get_or_create(&request).inc();
    }

    /// All of it in the text format of `OpenMetrics`, with how many of these migrations wait and run.
    pub fn text(&self, migrations: &[Migration]) -> String {
        let count = |status| migrations.iter().filter(|m| m.status == status).count();
        let set = |gauge: &Gauge, count: usize| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.running, count(Status::Running));
        set(&self.queued, count(Status::Pending));
        let mut answer = String::new();
        if text::encode(&mut answer, &self.registry).is_err() {
            // A string takes whatever is written to it.
            let _ = answer.write_str("# EOF\n");
        }
        answer
    }
}

/// Seconds for which a completed migration kept training from going on.
fn pause(migration: &Migration) -> Option<f64> {
    if migration.status != Status::Completed {
        return None;
    }
    migration.details.pause_seconds()
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::json;

    use super::*;

    fn migration(status: &str, reason: Option<&str>) -> Migration {
        let at = |second: u32| format!("2026-11-28T10:00:{second:02}Z");
        serde_json::from_value(json!({
            "migration_id": "migration-00000000", "status": status, "message": "",
            "details": {
                "pod_namespace": "ml", "start_time": at(0), "end_time": at(30), "reason": reason,
                "steps": [
                    {"name": "analyse", "start_time": at(0), "end_time": at(1)},
                    {"name": "checkpoint", "start_time": at(1), "end_time": at(3)},
                    {"name": "restore", "start_time": at(5), "end_time": at(9)},
                    {"name": "remove", "start_time": at(9)},
                ],
                "checkpoints": {"trainer": {"step": 1, "directory": "d", "files": 2, "bytes": 3_000_005, "digest": "ab"}},
            },
        }))
        .unwrap()
    }

    fn text() -> String {
        let recorder = Recorder::default();
        recorder.ended(&migration("completed", None));
        recorder.ended(&migration("failed", Some("TimedOut")));
        recorder.answered(&Method::GET, Some("/api/v1/migrations/{id}"), StatusCode::OK);
        recorder.answered(&Method::from_bytes(b"BREW").unwrap(), None, StatusCode::NOT_FOUND);
        recorder.text(&[migration("running", None), migration("pending", None)])
    }

    #[test]
    fn everything_is_told_once() {
        let text = text();
        for line in [
            "migbench_orchestrator_migrations_total{result=\"completed\",reason=\"\"} 1",
            "migbench_orchestrator_migrations_total{result=\"failed\",reason=\"TimedOut\"} 1",
            "migbench_orchestrator_migration_duration_seconds_sum{result=\"completed\"} 30.0",
            "migbench_orchestrator_phase_duration_seconds_sum{phase=\"restore\"} 8.0",
            "migbench_orchestrator_pause_seconds_sum 8.0",
            "migbench_orchestrator_pause_seconds_count 1",
            "migbench_orchestrator_checkpoint_bytes_sum 6000010.0",
            "migbench_orchestrator_migrations_running 1",
            "migbench_orchestrator_migrations_queued 1",
            "migbench_orchestrator_http_requests_total{method=\"other\",path=\"other\",code=\"404\"} 1",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} in\n{text}");
        }
        assert!(!text.contains("phase=\"remove\""), "it has not ended");
    }
}
