//! The arms of the self-test: native migrations, of which all but the first two leave out processors that have finished.
//! So each has a reduction that is known before anything is measured.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;

use crate::{
    migrate::{
        Definition, Error, Request, Strategy,
        native::{self, Native},
    },
    record::outcome::Outcome,
};

/// An arm with its true reduction.
#[derive(Debug, Clone, Copy)]
pub struct Arm {
    /// How it migrates.
    pub definition: Definition,
    /// Share of the baseline's CPU that it does not use while the processors run again, 0–1.
    pub reduction: f64,
}

/// The baseline, the same again, and three known answers.
pub static ARMS: [Arm; 5] = [
    Arm {
        definition: native::DEFINITION,
        reduction: 0.0,
    },
    Arm {
        definition: arm("native-again", |_| Ok(Arc::new(Without(&[])))),
        reduction: 0.0,
    },
    Arm {
        definition: arm("without-10", |_| Ok(Arc::new(Without(&["tenth"])))),
        reduction: 0.10,
    },
    Arm {
        definition: arm("without-28", |_| Ok(Arc::new(Without(&["known"])))),
        reduction: 0.28,
    },
    Arm {
        definition: arm("without-50", |_| {
            Ok(Arc::new(Without(&["tenth", "known", "rest"])))
        }),
        reduction: 0.50,
    },
];

const fn arm(
    name: &'static str,
    make: fn(&crate::migrate::Services) -> Result<Arc<dyn Strategy>, Error>,
) -> Definition {
    Definition {
        name,
        needs_orchestrator: false,
        make,
    }
}

/// Native, but that these containers are not made again.
struct Without(&'static [&'static str]);

impl fmt::Debug for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "native without {:?}", self.0)
    }
}

impl Strategy for Without {
    fn migrate<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move {
            let pod = without(request.manifest_on_target, self.0);
            let request = Request {
                manifest_on_target: &pod,
                ..request
            };
            Native.migrate(request).await
        })
    }
}

fn without(pod: &Pod, left_out: &[&str]) -> Pod {
    let mut pod = pod.clone();
    if let Some(spec) = &mut pod.spec {
        spec.containers
            .retain(|container| !left_out.contains(&container.name.as_str()));
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{k8s::quantity, scenario::Scenario, selftest::SCENARIO};

    /// CPU that the containers of the scenario's pod are told to use, millicores.
    fn demand(pod: &Pod) -> u64 {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let told = containers.flat_map(|container| container.args.iter().flatten());
        told.filter_map(|argument| argument.strip_prefix("--cpu="))
            .map(|cpu| quantity::millicores(cpu).unwrap())
            .sum()
    }

    #[test]
    fn the_scenario_makes_the_reductions_true() {
        let scenario = Scenario::load(SCENARIO, None, &[]).unwrap();
        let all = demand(&scenario.pod) as f64;
        let left_out: [&[&str]; 5] = [&[], &[], &["tenth"], &["known"], &["tenth", "known", "rest"]];
        for (arm, left_out) in ARMS.iter().zip(left_out) {
            let used = demand(&without(&scenario.pod, left_out)) as f64;
            assert!(
                (1.0 - used / all - arm.reduction).abs() < 1e-12,
                "{}",
                arm.definition.name
            );
        }
    }
}
