//! A benchmark from beginning to end: the stage is set, the legs are run, everything is removed, the result is shown.

use super::outcome;
use crate::{
    error::Error,
    interrupt::Interrupt,
    migrate, progress,
    record::{
        run::{Environment, RunRecord},
        store::RunDirectory,
    },
    run::{
        cluster::{self, Connection},
        environment,
        notice::Notices,
        overhead::Processes,
        recorder::Recorder,
        rounds::Run,
        settings::Settings,
        stage::Stage,
    },
};

/// Run all rounds, or those that `earlier`, the record of a run that did not come to its end, lacks.
pub(super) async fn conduct(settings: Settings, earlier: Option<RunRecord>) -> Result<(), Error> {
    let mut interrupt = Interrupt::listen().map_err(|error| Error::Internal(error.into()))?;
    interrupt
        .unless(cluster::prepare(&settings.choice, &settings.scenario))
        .await?;
    let directory = RunDirectory::create(&settings.results, &settings.id)?;

    let log = directory.file("cluster.log");
    let connect = async { Ok(Connection::open(&settings.choice, &log).await?) };
    let mut stage = Stage::new(interrupt.unless(connect).await?, &settings);
    let measuring = Box::pin(measure(&settings, &mut stage, &directory, earlier));
    let measured = interrupt.unless(measuring).await;
    interrupt.abort_on_next();
    stage.strike(measured).await?;
    outcome::show(&directory, settings.gate)
}

async fn measure(
    settings: &Settings,
    stage: &mut Stage,
    directory: &RunDirectory,
    earlier: Option<RunRecord>,
) -> Result<(), Error> {
    let mut settings = settings.clone();
    let set = stage.set(&mut settings, directory).await?;
    let mut environment = environment::read(&set.cluster, &settings.scenario).await?;
    for (image, digest) in set.digests {
        environment.images.insert(image, Some(digest));
    }
    let (scenario, cpu_scale) = settings.scaled(capacity(&environment));
    let planned = settings.plan(&scenario, cpu_scale).leg_duration();
    let expected = progress::Expected {
        samples: scenario.phases.samples,
        leg: planned.unwrap_or_default(),
        watch: stage.watch_command(),
    };
    let fresh = settings.record(&scenario, cpu_scale, environment);
    let record = match earlier {
        Some(earlier) => earlier.resumed_by(&fresh)?,
        None => fresh,
    };
    let url = stage.orchestrator_url();
    let strategies = settings.strategies.iter();
    let run = Run {
        id: settings.id.clone(),
        scenario,
        cluster: set.cluster,
        namespace: stage.place().namespace.clone(),
        pods: stage.place().pods(),
        strategies: strategies
            .map(|name| migrate::by_name(name, url.as_deref()))
            .collect::<Result<_, _>>()?,
        of: u32::try_from(settings.legs().len()).unwrap_or(u32::MAX),
        legs: record.missing(settings.legs()),
        processes: Processes::of_run(stage.orchestrator_pid(), url),
        notices: Notices::to(vec![
            Box::new(Recorder::new(directory.clone())),
            progress::listener(expected),
        ]),
    };
    run.execute(record).await
}

/// What the smaller of the nodes can give, millicores.
fn capacity(environment: &Environment) -> u64 {
    let allocatable = environment
        .nodes
        .iter()
        .filter_map(|node| node.allocatable_millicores);
    allocatable.min().unwrap_or(0)
}
