//! Going on with a run that did not come to its end. The round is the unit of replication, so only whole rounds count: one
//! with a leg that is missing or failed is run again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Error, order::PlannedLeg};
use crate::record::run::RunRecord;

impl RunRecord {
    /// Of the legs of the whole run, those that are still to be run.
    pub fn missing(&self, legs: Vec<PlannedLeg>) -> Vec<PlannedLeg> {
        let complete = self.complete_rounds();
        legs.into_iter()
            .filter(|leg| !complete.contains(&leg.round))
            .collect()
    }

    /// This record, ready for the rounds that it lacks, which `fresh` describes: the legs of rounds that are not complete
    /// are kept beside them, and counted: what fails now and then must be told.
    pub fn resumed_by(mut self, fresh: &Self) -> Result<Self, Error> {
        self.check_equal(fresh)?;
        let complete = self.complete_rounds();
        let (whole, abandoned) = self
            .legs
            .into_iter()
            .partition(|leg| complete.contains(&leg.round));
        self.legs = whole;
        self.abandoned.extend::<Vec<_>>(abandoned);
        self.ended = None;
        self.resumed.push(Timestamp::now());
        Ok(self)
    }

    fn complete_rounds(&self) -> BTreeSet<u32> {
        let succeeded = |round: u32, strategy: &String| {
            self.legs.iter().any(|leg| {
                leg.round == round
                    && leg.strategy == *strategy
                    && leg.ended.is_some()
                    && leg.error.is_none()
                    && leg.migration.is_some()
            })
        };
        let complete = |round: &u32| {
            self.settings
                .strategies
                .iter()
                .all(|strategy| succeeded(*round, strategy))
        };
        self.legs.iter().map(|leg| leg.round).filter(complete).collect()
    }

    /// Rounds are comparable only where what is measured is the same.
    fn check_equal(&self, fresh: &Self) -> Result<(), Error> {
        let differs = if self.migbench != fresh.migbench {
            format!("migbench was {}, and is {}", self.migbench, fresh.migbench)
        } else if self.settings != fresh.settings {
            "the scenario or the capacity of the nodes is another one".into()
        } else if self.environment.nodes != fresh.environment.nodes {
            "the nodes are not what they were".into()
        } else if self.environment.cluster != fresh.environment.cluster {
            format!(
                "it was on {}, and this is {}",
                self.environment.cluster, fresh.environment.cluster
            )
        } else if self.environment.meter != fresh.environment.meter {
            "its counters were read another way".into()
        } else if self.environment.images != fresh.environment.images {
            "its images have other digests".into()
        } else if (&self.environment.kernel, &self.environment.cpu_model)
            != (&fresh.environment.kernel, &fresh.environment.cpu_model)
        {
            "the host has another kernel or processor".into()
        } else if let Some(name) = other_input(&self.inputs, &fresh.inputs) {
            format!("{name} is not what it was")
        } else {
            return Ok(());
        };
        Err(Error::NotComparable(format!(
            "run {} cannot be gone on with: {differs}; start a new one by `migbench run`",
            self.id
        )))
    }
}

/// The first input that is another one.
fn other_input<'a>(then: &'a Inputs, now: &'a Inputs) -> Option<&'a str> {
    let names = then.keys().chain(now.keys());
    let mut others = names.filter(|name| then.get(*name) != now.get(*name));
    others.next().map(String::as_str)
}

type Inputs = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::run::order;

    fn leg(round: u32, strategy: &str, error: &Value) -> Value {
        let stamp = json!({"mono_ns": 1, "wall": "2026-11-24T10:00:00Z"});
        let migration =
            json!({"pod": "p", "pod_uid": "u", "requested": stamp, "completed": stamp, "report": null});
        json!({"round": round, "position": 1, "strategy": strategy, "source": "a", "target": "b", "pod": "p",
            "started": stamp, "ended": stamp, "migration": migration, "error": error, "epochs": [], "sweeps": [],
            "events": [], "overhead": []})
    }

    fn record(legs: &[Value]) -> RunRecord {
        serde_json::from_value(json!({
            "schema": "migbench.io/run/v1", "migbench": "0", "id": "r", "started": "2026-11-24T10:00:00Z", "ended": null,
            "settings": {"scenario": "smoke", "workload": "builtin", "rounds": 3, "strategies": ["native", "other"],
                "samples": 20, "interval_ms": 200, "settle_ms": 1, "horizon_ms": 1, "trim": 3, "target_reduction": 0.2,
                "cpu_scale": 1.0, "cpu_limits_millicores": {}, "roles": {}, "order_seed": 7, "arguments": []},
            "environment": {"cluster": "context c", "kubernetes": "v1", "embedded": false, "nodes": [],
                "meter": {"kind": "k", "cgroup": "v2", "from_cgroup": true}, "kernel": "", "cpu_model": null, "cpus": 1,
                "load": null, "clock_source": null, "images": {}},
            "legs": legs,
        }))
        .unwrap()
    }

    #[test]
    fn only_whole_rounds_count() {
        let fine = Value::Null;
        let record = record(&[
            leg(1, "native", &fine),
            leg(1, "other", &fine),
            leg(2, "native", &fine),
            leg(2, "other", &json!("the node was lost")),
        ]);
        let missing = record.missing(order::legs(3, false, 2, 7));
        let rounds: Vec<_> = missing.iter().map(|leg| leg.round).collect();
        assert_eq!(rounds, [2, 2, 3, 3]);
        assert_eq!(missing[0].position, 3, "legs keep their place in the run");
        let resumed = record.clone().resumed_by(&record).unwrap();
        assert_eq!(resumed.legs.len(), 2);
        assert_eq!(resumed.resumed.len(), 1);
        let lost: Vec<_> = resumed
            .abandoned
            .iter()
            .map(|leg| (leg.round, leg.error.is_some()))
            .collect();
        assert_eq!(
            lost,
            [(2, false), (2, true)],
            "what is lost is kept, beside the result"
        );
        let again = resumed.clone().resumed_by(&record).unwrap();
        assert_eq!(again.abandoned.len(), 2);
    }

    #[test]
    fn another_cluster_or_scenario_is_refused() {
        let earlier = record(&[]);
        let mut elsewhere = earlier.clone();
        elsewhere.environment.cluster = "context d".into();
        let told = earlier.clone().resumed_by(&elsewhere).unwrap_err().to_string();
        assert!(told.contains("context c") && told.contains("context d"), "{told}");
        let mut edited = earlier.clone();
        edited.inputs.insert("pod".into(), "0123".into());
        let told = earlier.clone().resumed_by(&edited).unwrap_err().to_string();
        assert!(told.contains("pod is not what it was"), "{told}");
        let mut smaller = earlier.clone();
        smaller.settings.cpu_scale = 0.5;
        assert!(
            earlier
                .resumed_by(&smaller)
                .unwrap_err()
                .to_string()
                .contains("capacity")
        );
    }
}
