//! What a run would do, as data and as text (`--dry-run`). Nothing is touched.

use std::{collections::BTreeMap, fmt, time::Duration};

use humantime::format_duration;
use k8s_openapi::{api::core::v1::Container, apimachinery::pkg::api::resource::Quantity};

use super::order::PlannedLeg;
use crate::{k8s::pod, record::run::Role, scenario::Scenario};

/// A run as planned.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<'a> {
    /// The scenario, its CPU already scaled.
    pub scenario: &'a Scenario,
    /// Where it would run, in words.
    pub cluster: String,
    /// Factor that CPU limits and requests were multiplied by; `None` where the nodes are not known.
    pub cpu_scale: Option<f64>,
    /// Names of the strategies.
    pub strategies: Vec<&'static str>,
    /// The legs in their order.
    pub legs: Vec<PlannedLeg>,
}

impl Plan<'_> {
    /// Time of one leg: until the processor has completed, `before`, and the horizon. Start-up, image pulls and the
    /// removal of the pod come on top. `None` where the scenario does not say how long its processor works.
    pub fn leg_duration(&self) -> Option<Duration> {
        let phases = self.scenario.phases;
        Some(self.scenario.processor_duration? + phases.window() + phases.horizon)
    }

    /// Time of all legs.
    pub fn duration(&self) -> Option<Duration> {
        self.leg_duration()?
            .checked_mul(u32::try_from(self.legs.len()).ok()?)
    }

    fn fmt_containers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.scenario.pod.metadata.name.as_deref().unwrap_or_default();
        writeln!(f, "pod {name}")?;
        for container in self.scenario.pod.spec.iter().flat_map(pod::specified) {
            writeln!(
                f,
                "  {}",
                line(container, self.scenario.roles.get(&container.name))
            )?;
        }
        match self.cpu_scale {
            Some(scale) if scale < 1.0 => writeln!(
                f,
                "  CPU limits and requests are scaled by {scale:.3} to fit the nodes"
            ),
            Some(_) => Ok(()),
            None => writeln!(
                f,
                "  whether CPU limits have to be scaled to fit the nodes is not known"
            ),
        }
    }

    fn fmt_windows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phases = &self.scenario.phases;
        let samples = format!(
            "{} samples × {}",
            phases.samples,
            format_duration(phases.interval)
        );
        writeln!(f, "windows")?;
        writeln!(f, "  before   {samples} = {}", format_duration(phases.window()))?;
        writeln!(
            f,
            "  after    {samples}, from {} after the migrated containers have started",
            format_duration(phases.settle)
        )?;
        writeln!(
            f,
            "  horizon  {} from the migration request",
            format_duration(phases.horizon)
        )?;
        writeln!(
            f,
            "  trimmed  {} lowest and {0} highest samples of each phase",
            phases.trim
        )
    }

    fn fmt_legs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "legs")?;
        for leg in &self.legs {
            let strategy = self.strategies[leg.strategy];
            let (source, target) = self.scenario.direction(leg.reversed);
            writeln!(
                f,
                "  {}. {} {strategy:<12} {source} → {target}",
                leg.position,
                match leg.round {
                    0 => "warm-up".to_owned(),
                    round => format!("round {round}"),
                }
            )?;
        }
        match self.duration() {
            Some(duration) => writeln!(f, "expected duration: {} and start-up", format_duration(duration)),
            None => writeln!(
                f,
                "expected duration: unknown, the scenario has no processorDuration"
            ),
        }
    }
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scenario = self.scenario;
        writeln!(
            f,
            "scenario {} (workload {}) on {}",
            scenario.name, scenario.workload, self.cluster
        )?;
        self.fmt_containers(f)?;
        self.fmt_windows(f)?;
        self.fmt_legs(f)
    }
}

/// A container in one line: name, role, requests, limits, image.
pub(crate) fn line(container: &Container, role: Option<&Role>) -> String {
    let resources = container.resources.clone().unwrap_or_default();
    let amounts = |amounts: Option<BTreeMap<String, Quantity>>| {
        let amounts = amounts.unwrap_or_default();
        let of = |resource: &str| amounts.get(resource).map_or("–", |amount| &amount.0).to_owned();
        format!("{} / {}", of("cpu"), of("memory"))
    };
    format!(
        "{:<20} {:<10} requests {:<16} limits {:<16} {}",
        container.name,
        role.map_or_else(|| "init".to_owned(), Role::to_string),
        amounts(resources.requests),
        amounts(resources.limits),
        container.image.as_deref().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::order;

    #[test]
    fn the_plan_of_smoke() {
        let mut scenario = Scenario::load("smoke", None, &[]).unwrap();
        let cpu_scale = scenario.scale_cpu(2000);
        let plan = Plan {
            scenario: &scenario,
            cluster: "embedded".to_owned(),
            cpu_scale: Some(cpu_scale),
            strategies: vec!["native", "orchestrator"],
            legs: order::legs(1, false, 2, 0),
        };
        assert_eq!(plan.duration(), Some(Duration::from_secs(42)));
        insta::assert_snapshot!(plan.to_string());
    }
}
