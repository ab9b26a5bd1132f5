//! Whole runs of several rounds without a cluster: the good course, whose numbers are known to the last digit, and each
//! point of a leg failed in turn.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, ResourceExt, api::ListParams};
use tokio::sync::mpsc;

use super::{
    Benchmark,
    simulation::{FAILING, Fault, HANGING, ORCHESTRATED, Simulation},
};
use crate::{
    commands::outcome,
    contract::workload::Progress,
    deploy::supply::StorageOptions,
    error::{Error, ExitCode},
    interrupt::Interrupt,
    migrate::{Definition, native},
    progress,
    record::{
        event::{Event, Kind, PodPhase},
        run::RunRecord,
        store::{self, RunDirectory},
    },
    run::{
        cluster::Choice,
        settings::{Settings, Site},
    },
    scenario::Scenario,
    stats::summary::Summary,
};

/// What a run leaves behind.
pub(super) struct Ended {
    result: Result<(), Error>,
    record: Option<RunRecord>,
    /// What was printed while it ran.
    pub(super) printed: String,
    /// The result, as it is printed where the run came to its end.
    shown: String,
    /// Pods, and namespaces of runs, that are still there.
    pub(super) left: Vec<String>,
}

impl Ended {
    pub(super) fn code(&self) -> ExitCode {
        self.result
            .as_ref()
            .err()
            .map_or(ExitCode::Done, Error::exit_code)
    }

    pub(super) fn error(&self) -> String {
        self.result
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    pub(super) fn record(&self) -> &RunRecord {
        self.record.as_ref().unwrap()
    }
}

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<u8>>>);

impl Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn settings(second: &'static Definition, rounds: u32) -> Settings {
    let scenario = Scenario::load("tensorflow", Some("builtin"), &[]).unwrap();
    let site = Site {
        namespace: None,
        image: "migbench".into(),
        storage: StorageOptions::default(),
    };
    let strategies = vec![&native::DEFINITION, second];
    Settings {
        id: "0199d0f0-0000-7000-8000-0123456789ab".into(),
        rounds,
        seed: 7,
        ..Settings::new(scenario, Choice::Embedded, site, strategies)
    }
}

/// Run on a simulated cluster; a signal comes after `interrupted`.
pub(super) async fn run(settings: &Settings, fault: Fault, interrupted: Option<Duration>) -> Ended {
    go_on(settings, fault, None, interrupted).await
}

/// The same, with the record of a run that did not come to its end.
pub(super) async fn go_on(
    settings: &Settings,
    fault: Fault,
    earlier: Option<RunRecord>,
    interrupted: Option<Duration>,
) -> Ended {
    let simulation = Simulation::start(fault).await;
    let results = tempfile::tempdir().unwrap();
    let directory = RunDirectory::create(results.path(), &settings.id).unwrap();
    let ear = Ear::default();
    let screen = progress::lines(ear.clone());
    let benchmark = Benchmark::new(settings, &directory, screen, simulation.clock());
    let (signal, signals) = mpsc::channel(1);
    let later = tokio::spawn(async move {
        match interrupted {
            Some(after) => {
                tokio::time::sleep(after).await;
                signal.send(()).await.unwrap();
                std::future::pending::<()>().await;
            }
            None => std::future::pending().await,
        }
    });
    let mut result = benchmark
        .run(simulation.cluster(), earlier, Interrupt::from(signals))
        .await;
    later.abort();
    let mut shown = Vec::new();
    if result.is_ok() {
        (shown, result) = outcome::of(&directory, &["verdict".parse().unwrap()]).unwrap();
    }
    let printed = ear.0.lock().unwrap().clone();
    Ended {
        result,
        record: store::read(&directory.file(store::RECORD)).ok(),
        printed: String::from_utf8(printed).unwrap(),
        shown: String::from_utf8(shown).unwrap(),
        left: left(&simulation).await,
    }
}

async fn left(simulation: &Simulation) -> Vec<String> {
    let all = ListParams::default();
    let pods = Api::<Pod>::all(simulation.direct.clone())
        .list(&all)
        .await
        .unwrap();
    let namespaces = Api::<Namespace>::all(simulation.direct.clone())
        .list(&all)
        .await
        .unwrap();
    let names = namespaces.items.iter().map(ResourceExt::name_any);
    let own = names.filter(|name| name.starts_with("migbench-"));
    pods.items.iter().map(ResourceExt::name_any).chain(own).collect()
}

/// The cells of a row of the result.
fn row<'a>(shown: &'a str, title: &str) -> Vec<&'a str> {
    let begin = format!(" {title}  ");
    let line = shown.lines().rfind(|line| line.starts_with(&begin));
    let cells = line
        .unwrap_or_else(|| panic!("no {title:?} in {shown}"))
        .split("  ");
    cells.map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[tokio::test(start_paused = true)]
async fn three_rounds_find_what_is_played_to_the_last_digit() {
    let ended = run(&settings(&ORCHESTRATED, 3), Fault::None, None).await;
    assert_eq!(
        (ended.code(), ended.error().as_str()),
        (ExitCode::Done, ""),
        "{}",
        ended.printed
    );
    assert_eq!(ended.left, Vec::<String>::new());
    assert_eq!(ended.record().legs.len(), 6);
    for leg in &ended.record().legs {
        let migrated = leg.migration.as_ref().unwrap();
        assert_eq!(
            migrated.completed.mono_ns - migrated.requested.mono_ns,
            1_500_000_000
        );
        assert_eq!(
            leg.ended.unwrap().wall.duration_since(leg.started.wall).as_secs(),
            126
        );
    }
    let shown = &ended.shown;
    assert_eq!(
        row(shown, "CPU (after)"),
        ["CPU (after)", "900 m", "648 m", "28.0 %", "28.0…28.0 %"]
    );
    let memory = "memory, anonymous (after)";
    assert_eq!(
        row(shown, memory),
        [memory, "989.0 MiB", "710.0 MiB", "28.2 %", "28.2…28.3 %"]
    );
    // Native trains from nothing; the other loses the step between its copy of the state and the source's end.
    assert_eq!(
        row(shown, "steps lost"),
        ["steps lost", "127", "1", "126 fewer", "126…126"]
    );
    assert!(shown.contains("CPU at least 20.0 % less: MET"), "{shown}");
    // What the first screen has no room for.
    let summary = Summary::new(ended.record());
    let digits = |metric: &str, unit: f64| {
        let metric = summary.comparisons[0].metric(metric).unwrap();
        [&metric.baseline, &metric.candidate, &metric.saved]
            .map(|figure| format!("{:.1}", figure.get().unwrap() / unit))
    };
    assert_eq!(digits("cpu", 1.0), ["900.0", "648.0", "252.0"]);
    assert_eq!(digits("memory_anon", 1_048_576.0), ["989.0", "710.0", "279.0"]);
    assert_eq!(digits("steady_cpu", 1.0), ["648.0", "648.0", "0.0"]);
    let printed = [
        "TEST 6 of 6: orchestrator, ai-storage-worker-01 → gpu-server-03 (round 3)",
        "armed    after 46 s, tensorflow-trainer at step 86",
        "after    20 samples: about 648 m CPU, 710 MiB anonymous memory",
        "done     leg took 127 s",
    ];
    for line in printed {
        assert!(ended.printed.contains(line), "no {line:?} in {}", ended.printed);
    }
}

/// A run of one round that fails: its exit code, its error, what its legs say of it, and the last that was printed. Nothing
/// is left, whatever happens.
async fn fails(fault: Fault, second: &'static Definition, code: ExitCode, error: &str) -> Ended {
    let ended = run(&settings(second, 1), fault, None).await;
    let told = ended.error();
    assert!(
        ended.code() == code && told.contains(error),
        "{fault:?}: {:?}: {told}",
        ended.code()
    );
    assert_eq!(ended.left, Vec::<String>::new(), "{fault:?}");
    let leg = ended.record().legs.last().unwrap();
    assert_eq!(leg.error.as_ref(), Some(&told), "{fault:?}");
    assert!(leg.ended.is_some() && ended.record().ended.is_none(), "{fault:?}");
    assert!(
        ended
            .printed
            .ends_with(&format!("  failed   {}\n", told.lines().next().unwrap())),
        "{fault:?}: {}",
        ended.printed
    );
    ended
}

#[tokio::test(start_paused = true)]
async fn each_point_of_a_leg_that_fails_ends_the_run_with_its_reason_and_leaves_nothing() {
    let refused = "apply Pod tensorflow-ai-workload: simulated (403)\n  to do: `migbench doctor`";
    let ended = fails(Fault::DeployRefused, &ORCHESTRATED, ExitCode::Cluster, refused).await;
    assert!(ended.record().legs[0].migration.is_none());

    let late = "was not armed within 345 s: Running: tensorflow-trainer running, data-processor completed, \
                model-monitor running; data-processor reported to be done. Where it only needs longer: \
                --set deadlines.armed=600s";
    fails(Fault::Silent, &ORCHESTRATED, ExitCode::Cluster, late).await;

    let failed = "migration of tensorflow-ai-workload failed: the checkpoint is corrupt";
    let ended = fails(Fault::None, &FAILING, ExitCode::Migration, failed).await;
    assert_eq!(ended.record().legs.len(), 2);
    assert!(
        ended.record().legs[0].error.is_none(),
        "the leg before it is kept as it was"
    );
    let situation = ended.record().legs[1].situation.as_ref().unwrap();
    assert_eq!(situation.pods[0].name, "tensorflow-ai-workload");
    let shown = "\n  pods of namespace migbench-0123456789ab then:\n    tensorflow-ai-workload on ";
    assert!(
        ended.error().contains(shown) && ended.error().ends_with(&situation.to_string()),
        "{}",
        ended.error()
    );

    let hangs = "did not end within 420 s: the strategy orchestrator has not come back";
    fails(Fault::None, &HANGING, ExitCode::Migration, hangs).await;

    let agent = "migbench agent on node ai-storage-worker-01: its connection was lost";
    let ended = fails(Fault::AgentGone, &ORCHESTRATED, ExitCode::Measurement, agent).await;
    assert!(ended.record().legs[0].migration.is_some());

    let refused = "delete the leg's pods: simulated (403)";
    fails(Fault::RemovalRefused, &ORCHESTRATED, ExitCode::Cluster, refused).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_lost_in_before_makes_the_measurement_invalid() {
    let ended = run(&settings(&ORCHESTRATED, 1), Fault::ContainerLost, None).await;
    assert_eq!(ended.code(), ExitCode::Measurement, "{}", ended.error());
    let lost = "tensorflow-trainer was read at 10 of 21 ticks: it began or ended in the window";
    assert!(
        ended.error().contains(lost) && ended.shown.contains("tensorflow-trainer was read at 10"),
        "{}",
        ended.error()
    );
    assert_eq!(ended.record().legs.len(), 2);
    assert!(
        ended.printed.contains("before   20 samples: about 331 m CPU"),
        "{}",
        ended.printed
    );
    assert_eq!(ended.left, Vec::<String>::new());
}

/// Steps that the migrated pod of the last leg reported.
fn steps(record: &RunRecord) -> Vec<u64> {
    let leg = record.legs.last().unwrap();
    let migrated = &leg.migration.as_ref().unwrap().pod_uid;
    let steps = leg.events.iter().filter_map(|event| match &event.kind {
        Kind::Progress {
            uid,
            progress: Progress::Step { step, .. },
            ..
        } if uid == migrated => Some(*step),
        _ => None,
    });
    steps.collect()
}

#[tokio::test(start_paused = true)]
async fn an_output_whose_stream_breaks_is_followed_on_without_a_gap() {
    let whole = run(&settings(&ORCHESTRATED, 1), Fault::None, None).await;
    let cut = run(&settings(&ORCHESTRATED, 1), Fault::LogCut, None).await;
    let (whole, cut) = (steps(whole.record()), steps(cut.record()));
    assert!(whole.len() > 100, "{whole:?}");
    assert_eq!(cut, whole);
}

#[tokio::test(start_paused = true)]
async fn pods_that_went_while_the_watch_was_broken_are_gone() {
    let ended = run(&settings(&ORCHESTRATED, 1), Fault::WatchExpired, None).await;
    assert_eq!(ended.code(), ExitCode::Inconclusive, "{}", ended.error());
    let gone =
        |event: &&Event| matches!(&event.kind, Kind::PodPhase { phase, .. } if *phase == PodPhase::Gone);
    for leg in &ended.record().legs {
        assert_eq!(
            leg.events.iter().filter(gone).count(),
            2,
            "source and migrated pod"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_at_any_point_ends_the_run_and_leaves_nothing() {
    // While the pod is deployed, in `before`, during the migration, in `after`, in the tail, and in the second leg.
    for (after, legs, last) in [
        (0, 0, "deploy   tensorflow-ai-workload on gpu-server-03"),
        (50, 0, "armed    after 46 s, tensorflow-trainer at step 86"),
        (67, 0, "migrate  native to ai-storage-worker-01"),
        (80, 0, "tensorflow-trainer makes step 1"),
        (
            110,
            0,
            "after    20 samples: about 900 m CPU, 989 MiB anonymous memory",
        ),
        (180, 1, "armed    after 46 s, tensorflow-trainer at step 86"),
    ] {
        let after = Duration::from_secs(after) + Duration::from_millis(500);
        let ended = run(&settings(&ORCHESTRATED, 1), Fault::None, Some(after)).await;
        assert_eq!(ended.code(), ExitCode::Interrupted, "{after:?}");
        assert_eq!(ended.error(), "interrupted; what this run had made was removed");
        assert_eq!(ended.left, Vec::<String>::new(), "{after:?}");
        assert_eq!(ended.record().legs.len(), legs, "{after:?}");
        assert!(ended.record().ended.is_none(), "{after:?}");
        assert!(ended.printed.contains(last), "{after:?}: {}", ended.printed);
    }
}
