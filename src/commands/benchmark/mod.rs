//! A benchmark from beginning to end: the stage is set, the legs are run, everything is removed, the result is shown.

mod floor;
#[cfg(test)]
mod fit_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use super::outcome::Show;
use crate::{
    embedded::images::{Means, PullProgress},
    error::Error,
    interrupt::Interrupt,
    migrate::{self, Services, endpoint::Endpoint, orchestrator::Service},
    progress::{self, Pulling},
    record::{clock::Clock, run::RunRecord, store::RunDirectory},
    run::{
        Run,
        backend::Cluster,
        cluster::{self, Choice},
        embedded, environment, inputs,
        notice::{Expected, Listener, Notices},
        overhead::Processes,
        recorder::Recorder,
        settings::Settings,
        stage::Stage,
    },
    scenario::Scenario,
};

/// Run all rounds, or those that `earlier`, the record of a run that did not come to its end, lacks, and show the result.
pub(super) async fn show(settings: Settings, earlier: Option<RunRecord>, show: &Show) -> Result<(), Error> {
    let listener = show.listener(settings.quiet);
    show.outcome(&conduct(settings, earlier, listener).await?)
}

/// Run all rounds that are lacking; returns where the record is.
pub(super) async fn conduct(
    settings: Settings,
    earlier: Option<RunRecord>,
    listener: Box<dyn Listener>,
) -> Result<RunDirectory, Error> {
    let mut interrupt = Interrupt::listen().map_err(|error| Error::Internal(error.into()))?;
    RunDirectory::check(&settings.results).map_err(|error| Error::Preflight {
        missing: format!("{error:#}"),
        remedy: "choose another directory by --results DIR or $MIGBENCH_RESULTS".into(),
    })?;
    interrupt
        .unless(prepare(&settings.choice, &settings.scenario, &settings.means))
        .await?;
    let directory =
        RunDirectory::create(&settings.results, &settings.id).map_err(|error| Error::Preflight {
            missing: format!("{error:#}"),
            remedy: "choose a directory that can be written: --results DIR, or MIGBENCH_RESULTS".into(),
        })?;
    let log = directory.file("cluster.log");
    let cluster = interrupt.unless(cluster::open(&settings.choice, &log)).await?;
    let benchmark = Benchmark::new(&settings, &directory, listener, Clock::system());
    benchmark.run(cluster, earlier, interrupt).await?;
    Ok(directory)
}

/// Fetch the scenario's images where that is this host's work, before any time is measured.
pub(super) async fn prepare(choice: &Choice, scenario: &Scenario, means: &Means) -> Result<(), Error> {
    let show = |image: &str| {
        let image = image.to_owned();
        // Only where there is something to show.
        let display = OnceLock::new();
        move |progress: &PullProgress| {
            let display = display.get_or_init(|| Pulling::start(&image));
            display.show(&progress.phase, progress.bytes);
        }
    };
    match choice {
        Choice::Embedded => Ok(embedded::pull_images(scenario, means, show).await?),
        Choice::Kube(_) => Ok(()),
    }
}

/// A run on a cluster that is within reach.
struct Benchmark<'a> {
    settings: &'a Settings,
    directory: &'a RunDirectory,
    notices: Notices,
}

impl<'a> Benchmark<'a> {
    /// Listeners are the record in `directory`, and `screen`.
    fn new(
        settings: &'a Settings,
        directory: &'a RunDirectory,
        screen: Box<dyn Listener>,
        clock: Clock,
    ) -> Self {
        let recorder = Box::new(Recorder::new(directory.clone()));
        Self {
            settings,
            directory,
            notices: Notices::to(vec![recorder, screen], clock),
        }
    }

    /// Run, and remove everything, whether it comes to its end or not.
    async fn run(
        self,
        cluster: Cluster,
        earlier: Option<RunRecord>,
        mut interrupt: Interrupt,
    ) -> Result<(), Error> {
        let run = self.settings.id.clone();
        let real = !cluster.backend.is_embedded();
        let mut stage = Stage::new(cluster, self.settings);
        let measured = interrupt
            .unless(Box::pin(self.measure(&mut stage, earlier)))
            .await;
        interrupt.abort_on_next();
        // What was interrupted has not waited for the listeners.
        let heard = self.notices.flush().await.map_err(Error::from);
        let measured = measured.and(heard);
        // With the last sender the progress bar goes, so that it is not drawn over what is printed after the removal.
        drop(self);
        match stage.strike().await {
            Err(removal) if real => Err(Error::Left {
                run,
                removal: Box::new(removal.into()),
                cause: measured.err().map(Box::new),
            }),
            removed => measured.and(removed.map_err(Error::from)),
        }
    }

    async fn measure(&self, stage: &mut Stage, earlier: Option<RunRecord>) -> Result<(), Error> {
        let mut settings = self.settings.clone();
        let quiet = settings.quiet;
        let prepare = |what: &str| {
            if !quiet {
                progress::preparing(what);
            }
        };
        let set = stage.set(&mut settings, self.directory, &prepare).await?;
        let description = set.meter.describe();
        let mut environment = environment::read(stage.cluster(), description, &settings.scenario).await?;
        for (image, digest) in set.digests {
            environment.images.insert(image, Some(digest));
        }
        let capacity = environment::smallest(&environment.nodes).unwrap_or(0);
        let (scenario, cpu_scale) = settings.scaled(capacity);
        let planned = settings.plan(&scenario, Some(cpu_scale)).leg_duration();
        let expected = Expected {
            leg: planned.unwrap_or_default(),
            watch: stage.watch_command(),
        };
        let mut fresh = settings.record(self.notices.clock().now().wall, &scenario, cpu_scale, environment);
        fresh.inputs = inputs::digests(&settings.scenario)?;
        if fresh.floor.is_none() {
            fresh.floor = floor::known(&self.settings.results, &fresh.environment);
        }
        let record = match earlier {
            Some(earlier) => earlier.resumed_by(&fresh)?,
            None => fresh,
        };
        let endpoint = stage.orchestrator_url().map(|url| Endpoint {
            url,
            credentials: settings.credentials.clone(),
        });
        let services = Services {
            orchestrator: endpoint.clone().map(|endpoint| Service {
                endpoint,
                preserve_pv: scenario.orchestrator.preserve_pv,
                standby: scenario.orchestrator.standby,
                timeout: scenario.orchestrator.timeout,
            }),
        };
        let strategies = settings.strategies.iter();
        let run = Run {
            id: settings.id.clone(),
            scenario,
            client: stage.cluster().connection.client.clone(),
            meter: set.meter,
            namespace: stage.place().namespace.clone(),
            pods: stage.place().pods(),
            own_namespace: stage.place().own,
            strategies: strategies
                .map(|strategy| Ok((strategy.name, (strategy.make)(&services)?)))
                .collect::<Result<_, migrate::Error>>()?,
            of: u32::try_from(settings.legs().len()).unwrap_or(u32::MAX),
            legs: record.missing(settings.legs()),
            fits: record.fits.len(),
            processes: Processes::of_run(stage.orchestrator_pid(), endpoint),
            notices: self.notices.clone(),
            capacity,
            settings,
        };
        Ok(run.execute(record, expected).await?)
    }
}
