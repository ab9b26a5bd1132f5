//! Fitting a pod to a small machine: one factor for all CPU limits and requests, so that percentages stay comparable.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{Scenario, placement};
use crate::k8s::{quantity, requests};

/// Part of the capacity that the pod may use; the rest is for the cluster itself and the measurement.
pub const USABLE: f64 = 0.8;

/// The factor for a demand on a capacity, both in millicores: 1 where it fits.
pub fn factor(demand: u64, capacity: u64) -> f64 {
    if demand == 0 {
        return 1.0;
    }
    (capacity as f64 * USABLE / demand as f64).min(1.0)
}

impl Scenario {
    /// CPU limits by container, millicores. A container without a limit is not in it.
    pub fn cpu_limits(&self) -> BTreeMap<String, u64> {
        let limit = |container: &Container| {
            let limits = container.resources.as_ref()?.limits.as_ref()?;
            let millicores = quantity::millicores(&limits.get("cpu")?.0).ok()?;
            Some((container.name.clone(), millicores))
        };
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        containers.filter_map(limit).collect()
    }

    /// Scale all CPU limits and requests so that what the pod may use (its limits; its requests where there are none, or
    /// where they are more) fits `capacity` (millicores: the host's CPUs for the embedded cluster, else the smaller
    /// allocatable of the two nodes). Returns the factor.
    pub fn scale_cpu(&mut self, capacity: u64) -> f64 {
        let [most, least] = [requests::most_of_pod(&self.pod), requests::of_pod(&self.pod)];
        let factor = factor(most.get("cpu").max(least.get("cpu")), capacity);
        if factor < 1.0
            && let Some(spec) = &mut self.pod.spec
        {
            spec.resources.iter_mut().for_each(|whole| scale(whole, factor));
            let parts = placement::containers(spec).filter_map(|container| container.resources.as_mut());
            parts.for_each(|part| scale(part, factor));
        }
        factor
    }
}

fn scale(resources: &mut ResourceRequirements, factor: f64) {
    for amounts in [&mut resources.limits, &mut resources.requests]
        .into_iter()
        .flatten()
    {
        if let Some(cpu) = amounts.get_mut("cpu")
            && let Ok(millicores) = quantity::millicores(&cpu.0)
        {
            *cpu = Quantity(format!("{}m", scaled(millicores, factor)));
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "smaller than the whole number it is made from"
)]
fn scaled(millicores: u64, factor: f64) -> u64 {
    ((millicores as f64 * factor).round() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smoke() -> Scenario {
        Scenario::load("smoke", None, &[]).unwrap()
    }

    #[test]
    fn two_cpus_are_too_few_for_2500m() {
        let mut scenario = smoke();
        assert!((scenario.scale_cpu(2000) - 0.64).abs() < 1e-12);
        let limits: Vec<_> = scenario.cpu_limits().into_values().collect();
        assert_eq!(limits, [448, 128, 1024]);
        let spec = scenario.pod.spec.unwrap();
        let requests = spec.containers[0]
            .resources
            .as_ref()
            .unwrap()
            .requests
            .as_ref()
            .unwrap();
        assert_eq!(requests["cpu"].0, "960m");
        assert_eq!(requests["memory"].0, "64Mi", "only the CPU is scaled");
    }

    #[test]
    fn the_expected_reduction_stays_28_percent() {
        let mut scenario = smoke();
        scenario.scale_cpu(1000);
        let limits = scenario.cpu_limits();
        let all: u64 = limits.values().sum();
        let reduction = limits["data-processor"] as f64 / all as f64;
        assert!((reduction - 0.28).abs() < 0.001, "{reduction}");
    }

    #[test]
    fn requests_without_limits_and_init_containers_count_too() {
        let amounts = |cpu: &str| Some([("cpu".to_owned(), Quantity(cpu.to_owned()))].into());
        let mut scenario = smoke();
        let spec = scenario.pod.spec.as_mut().unwrap();
        let first = spec.containers[0].resources.as_mut().unwrap();
        (first.limits, first.requests) = (None, amounts("99100m"));
        let mut init = spec.containers[0].clone();
        init.resources.as_mut().unwrap().limits = amounts("200");
        spec.init_containers = Some(vec![init]);
        assert!(
            (scenario.scale_cpu(2000) - 0.008).abs() < 1e-12,
            "the init container alone is the most"
        );
        let cpu = |container: &Container| {
            container
                .resources
                .clone()?
                .limits?
                .get("cpu")
                .map(|cpu| cpu.0.clone())
        };
        let spec = scenario.pod.spec.unwrap();
        assert_eq!(cpu(&spec.init_containers.unwrap()[0]).as_deref(), Some("1600m"));
        let requests = spec.containers[0].resources.clone().unwrap().requests.unwrap();
        assert_eq!(requests["cpu"].0, "793m");
    }

    #[test]
    fn a_large_node_changes_nothing() {
        let mut scenario = smoke();
        assert!((scenario.scale_cpu(32_000) - 1.0).abs() < f64::EPSILON);
        assert_eq!(scenario.pod, smoke().pod);
    }

    #[test]
    fn nothing_is_scaled_to_nothing() {
        assert_eq!(scaled(1, 0.01), 1);
        assert!((factor(0, 2000) - 1.0).abs() < f64::EPSILON);
    }
}
