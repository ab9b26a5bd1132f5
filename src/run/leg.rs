//! One leg: deploy → armed → before → migrate → after → horizon.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Error, Run,
    fit::Misfit,
    notice::{LegHead, Notice},
    observer::{Observed, Observer},
    overhead,
    readings::Readings,
    removal, situation,
};
use crate::{
    deploy::{admission, namespace},
    k8s::{
        self, apply,
        pod::{self, State},
    },
    migrate::{self, Request, Strategy},
    record::{clock::Clock, event::Kind, outcome::Outcome, reading::Segment, run::Role},
    sample::{self, Cost, Schedule},
};

/// During the migration readings are taken this much closer together: what a dying container used since its last
/// reading is lost.
const MIGRATION_DENSITY: u32 = 4;
/// How long a strategy may take beyond the migration's time limit, to undo what it did.
const OVERDUE: Duration = Duration::from_secs(120);
/// How long the containers of a migrated pod may take to be seen by the observer after the strategy was done.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// A leg about to run.
pub(super) struct Leg<'a> {
    pub(super) run: &'a Run,
    pub(super) strategy: &'a dyn Strategy,
    pub(super) head: LegHead,
    observer: Observer,
}

impl<'a> Leg<'a> {
    pub(super) fn new(run: &'a Run, strategy: &'a dyn Strategy, head: LegHead) -> Self {
        let observer = Observer::start(run);
        Self {
            run,
            strategy,
            head,
            observer,
        }
    }

    /// Run the leg and remove its pods, also when it fails.
    pub(super) async fn execute(self) -> Result<(), Error> {
        self.run
            .notices
            .send(Notice::LegStarted(self.head.clone(), self.clock().now()));
        let measured = self.measure().await;
        if let Err(error) = &measured {
            self.run.notices.event(Kind::Failed {
                error: error.to_string(),
            });
        }
        let removed = removal::remove(self.run, &self.observer, &self.head.pod).await;
        self.run.meter.forget();
        let left = removed.is_err();
        let outcome = match (measured, removed) {
            // Beside what is left of this one no leg can be begun anew.
            (Err(Error::Misfit(_)), Err(left)) => Err(left),
            (measured, removed) => measured.and(removed),
        };
        let error = outcome.as_ref().err().map(ToString::to_string);
        if !left {
            self.run.notices.event(Kind::LegEnded);
        }
        self.run.notices.send(Notice::LegEnded(self.clock().now(), error));
        outcome
    }

    async fn measure(&self) -> Result<(), Error> {
        let pod = self.deploy().await?;
        let pod = self.armed(&pod).await?;
        self.clocks().await?;
        self.phase(Segment::Before, self.clock().now_ns()).await?;

        let costs = self.run.processes.read(&*self.run.meter).await;
        let (outcome, readings) = self.migrate(&pod).await?;
        let horizon_ns = outcome.requested.mono_ns + nanoseconds(self.run.scenario.phases.horizon);
        let overhead = self.overhead_until(horizon_ns, costs);

        let started_ns = self.all_run_since(&outcome).await?;
        self.trained(&outcome).await?;
        let clock = self.clock();
        let settled_ns = clock
            .now_ns()
            .max(started_ns + nanoseconds(self.run.scenario.phases.settle));
        self.fits(&outcome, started_ns, settled_ns)?;
        clock
            .sleep_until(settled_ns.saturating_sub(nanoseconds(self.run.scenario.phases.interval) / 2))
            .await;
        readings.stop().await?;
        self.phase(Segment::After, settled_ns).await?;
        self.tail(&outcome, horizon_ns).await?;
        self.clocks().await?;
        overhead.await.map_err(|error| Error::Internal(error.into()))
    }

    fn clock(&self) -> &'a Clock {
        self.run.notices.clock()
    }

    /// Tell how far the nodes' clocks are.
    async fn clocks(&self) -> Result<(), Error> {
        for offset in self.run.meter.clocks().await? {
            self.run.notices.send(Notice::Clock(offset));
        }
        Ok(())
    }

    /// Tell at the end of the horizon what was used since `costs` were read.
    fn overhead_until(&self, horizon_ns: u64, costs: Vec<Cost>) -> AbortOnDropHandle<()> {
        let (notices, meter) = (self.run.notices.clone(), self.run.meter.clone());
        let (processes, clock) = (self.run.processes.clone(), self.clock().clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            clock.sleep_until(horizon_ns).await;
            for overhead in overhead::between(costs, &processes.read(&*meter).await) {
                notices.send(Notice::Overhead(overhead));
            }
        }))
    }

    async fn deploy(&self) -> Result<Pod, Error> {
        let run = self.run;
        let manifest = run.scenario.pod_on(&self.head.source, &self.directory());
        let pod = apply::pod(&run.client, &run.namespace, &run.id, &manifest).await?;
        run.notices.event(Kind::Deployed {
            pod: pod.metadata.name.clone().unwrap_or_default(),
            uid: uid(&pod).to_owned(),
            node: self.head.source.clone(),
            admitted: admission::changes(&manifest, &pod),
        });
        Ok(pod)
    }

    /// The directory on the checkpoint volume that this leg has for itself; one that is begun anew has another.
    fn directory(&self) -> String {
        let fit = match self.run.fits {
            0 => String::new(),
            fits => format!("-fit{fits}"),
        };
        format!(
            "{}-round{}-{}{fit}",
            namespace::name(&self.run.id),
            self.head.round,
            self.head.strategy
        )
    }

    /// Wait until trainer and monitor run, the trainer has made a step, and the processor has done its work.
    async fn armed(&self, deployed: &Pod) -> Result<Pod, Error> {
        let limit = self.run.scenario.armed_within();
        let name = &self.head.pod;
        let armed = self.observer.wait_for(|pods| {
            let observed = pods.get(uid(deployed))?;
            if let Some(reason) = pod::hopeless(&observed.pod) {
                return Some(Err(k8s::Error::Impossible {
                    pod: name.clone(),
                    wanted: "armed",
                    reason,
                }));
            }
            if let Some(node) = pod::node(&observed.pod).filter(|node| *node != self.head.source) {
                return Some(Err(k8s::Error::Impossible {
                    pod: name.clone(),
                    wanted: "armed",
                    reason: format!(
                        "the scheduler has put it on node {node} instead of {}",
                        self.head.source
                    ),
                }));
            }
            self.is_armed(observed).then(|| Ok(observed.pod.clone()))
        });
        let pod = match timeout(limit, armed).await {
            Ok(answer) => answer??,
            Err(_) => return Err(self.not_armed(limit, deployed).into()),
        };
        self.check_metered(&pod)?;
        self.run.notices.event(Kind::Armed);
        Ok(pod)
    }

    fn is_armed(&self, observed: &Observed) -> bool {
        let containers = pod::containers(&observed.pod);
        let is = |name: &str, wanted: &State| containers.iter().any(|c| c.name == name && c.state == *wanted);
        pod::all_run(&observed.pod)
            && self.run.scenario.roles.iter().all(|(name, role)| match role {
                Role::Trainer => is(name, &State::Running) && observed.steps.contains_key(name),
                Role::Processor => is(name, &State::Completed) && observed.done.contains(name),
                Role::Monitor => is(name, &State::Running),
            })
    }

    fn not_armed(&self, limit: Duration, pod: &Pod) -> k8s::Error {
        let pods = self.observer.pods();
        let state = pods.get(uid(pod)).map_or_else(
            || "never seen".into(),
            |observed| {
                let steps: Vec<_> = observed
                    .steps
                    .iter()
                    .map(|(name, step)| format!("{name} at step {step}"))
                    .collect();
                let done: Vec<_> = observed
                    .done
                    .iter()
                    .map(|name| format!("{name} reported to be done"))
                    .collect();
                let reports = [steps, done].concat().join(", ");
                let reports = if reports.is_empty() {
                    "no progress reported".into()
                } else {
                    reports
                };
                let state = pod::describe(&observed.pod);
                let longer = self.run.scenario.deadlines.armed.as_secs().max(1) * 2;
                format!("{state}; {reports}. Where it only needs longer: --set deadlines.armed={longer}s")
            },
        );
        k8s::Error::Late {
            pod: self.head.pod.clone(),
            wanted: "armed",
            seconds: limit.as_secs(),
            state,
        }
    }

    /// A phase without the counters of a running container would be refused later; say so before time is spent.
    fn check_metered(&self, pod: &Pod) -> Result<(), Error> {
        let pods = self.observer.pods();
        let Some(observed) = pods.get(uid(pod)) else {
            return Ok(());
        };
        for container in pod::containers(pod)
            .iter()
            .filter(|container| container.state == State::Running)
        {
            if let Some(Err(reason)) = observed.metered.get(&container.name) {
                return Err(sample::Error::Invalid(reason.clone()).into());
            }
        }
        Ok(())
    }

    async fn migrate(&self, pod: &Pod) -> Result<(Outcome, Readings), Error> {
        let run = self.run;
        let manifest_on_target = run.scenario.pod_on(&self.head.target, &self.directory());
        let readings = self.start_readings(Schedule {
            segment: Segment::Migration,
            first_ns: self.clock().now_ns(),
            interval: run.scenario.phases.interval / MIGRATION_DENSITY,
            ticks: None,
        });
        run.notices.event(Kind::MigrationRequested);
        let request = Request {
            client: &run.client,
            clock: run.notices.clock(),
            run: &run.id,
            namespace: &run.namespace,
            pod,
            manifest_on_target: &manifest_on_target,
            source: &self.head.source,
            target: &self.head.target,
            timeout: run.scenario.deadlines.migration,
        };
        // A strategy keeps its time limit itself and cleans up; this one is for a strategy that does not come back at all.
        let limit = run.scenario.deadlines.migration + OVERDUE;
        let outcome = timeout(limit, self.strategy.migrate(request)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            Err(migrate::Error::Timeout {
                pod: self.head.pod.clone(),
                seconds: limit.as_secs(),
                state: format!("the strategy {} has not come back", self.head.strategy),
            })
        });
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Err(self.failed(error).await),
        };
        run.notices.event(Kind::MigrationCompleted);
        run.notices.send(Notice::Migrated(outcome.clone()));
        Ok((outcome, readings))
    }

    /// What a strategy failed with, and what the cluster shows of it before everything is removed.
    async fn failed(&self, error: migrate::Error) -> Error {
        let shown = situation::read(&self.run.client, &self.run.namespace).await;
        self.run.notices.send(Notice::Situation(shown.clone()));
        Error::Migration {
            error,
            situation: Some(Box::new(shown)),
        }
    }

    /// Since when all containers of the migrated pod run: when the youngest of them was first seen running.
    async fn all_run_since(&self, outcome: &Outcome) -> Result<u64, Error> {
        let since = self.observer.wait_for(|pods| {
            let observed = pods.get(&outcome.pod_uid)?;
            let names = observed
                .pod
                .spec
                .as_ref()?
                .containers
                .iter()
                .map(|container| &container.name);
            let since: Option<Vec<u64>> = names
                .map(|name| {
                    observed
                        .metered
                        .get(name)
                        .and_then(|_| observed.running_since.get(name).copied())
                })
                .collect();
            since?.into_iter().max()
        });
        match timeout(SEEN_WITHIN, since).await {
            Ok(since) => Ok(since?),
            Err(_) => Err(k8s::Error::Late {
                pod: outcome.pod.clone(),
                wanted: "running",
                seconds: SEEN_WITHIN.as_secs(),
                state: "the strategy called it migrated, but not all of its containers were seen running"
                    .into(),
            }
            .into()),
        }
    }

    /// Wait until every trainer of the migrated pod has made a step: before it the pod only starts, and the window would
    /// be about that.
    async fn trained(&self, outcome: &Outcome) -> Result<(), Error> {
        let limit = self.run.scenario.deadlines.armed;
        let roles = &self.run.scenario.roles;
        let trainers = || roles.iter().filter(|(_, role)| **role == Role::Trainer);
        let trained = self.observer.wait_for(|pods| {
            let observed = pods.get(&outcome.pod_uid)?;
            trainers()
                .all(|(name, _)| observed.steps.contains_key(name))
                .then_some(())
        });
        match timeout(limit, trained).await {
            Ok(trained) => Ok(trained?),
            Err(_) => Err(k8s::Error::Late {
                pod: outcome.pod.clone(),
                wanted: "training",
                seconds: limit.as_secs(),
                state: "it was migrated, and its trainer has not made a step since".into(),
            }
            .into()),
        }
    }

    /// Where a processor runs again its second life must outlast the window; say so before time is spent.
    fn fits(&self, outcome: &Outcome, started_ns: u64, settled_ns: u64) -> Result<(), Error> {
        let scenario = &self.run.scenario;
        let pods = self.observer.pods();
        let (Some(observed), Some(life)) = (pods.get(&outcome.pod_uid), scenario.processor_duration) else {
            return Ok(());
        };
        let ends_ns = settled_ns + nanoseconds(scenario.phases.window());
        let short = scenario.roles.iter().find(|(name, role)| {
            let ran_again = observed.has_worked(name, nanoseconds(life) / 2);
            **role == Role::Processor && ran_again.is_some_and(|since| since + nanoseconds(life) < ends_ns)
        });
        match short {
            Some((name, _)) => {
                let age = Duration::from_nanos(settled_ns.saturating_sub(started_ns));
                Err(Error::Misfit(Box::new(Misfit::new(scenario, name, age))))
            }
            None => Ok(()),
        }
    }

    /// Exactly N samples: N + 1 ticks.
    async fn phase(&self, segment: Segment, first_ns: u64) -> Result<(), Error> {
        let phases = &self.run.scenario.phases;
        let ticks = Some(phases.samples + 1);
        self.start_readings(Schedule {
            segment,
            first_ns,
            interval: phases.interval,
            ticks,
        })
        .finish()
        .await
    }

    /// Readings until the horizon ends, and beyond it until a processor that runs again has ended and enough samples
    /// were taken after it: the steady difference is read there.
    async fn tail(&self, outcome: &Outcome, horizon_ns: u64) -> Result<(), Error> {
        let phases = &self.run.scenario.phases;
        let interval = phases.interval;
        let readings = self.start_readings(Schedule {
            segment: Segment::Tail,
            first_ns: self.clock().now_ns(),
            interval,
            ticks: None,
        });
        let again = self.observer.wait_for(|pods| {
            let observed = pods.get(&outcome.pod_uid)?;
            let running = pod::containers(&observed.pod).into_iter().any(|container| {
                self.run.scenario.roles.get(&container.name) == Some(&Role::Processor)
                    && matches!(container.state, State::Running)
            });
            (!running).then_some(())
        });
        // A processor that never ends is the phase's problem, not a reason to wait for ever.
        let _ = timeout(self.run.scenario.armed_within(), again).await;
        let steady_ns = self.clock().now_ns() + nanoseconds(interval * (phases.samples / 2 + 1));
        self.clock().sleep_until(horizon_ns.max(steady_ns)).await;
        readings.stop().await
    }

    fn start_readings(&self, schedule: Schedule) -> Readings {
        Readings::start(&*self.run.meter, schedule, self.run.notices.clone())
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
