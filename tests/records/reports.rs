//! Reports of sample records: the same bytes each time, and each accepted by whom it is for.

use migbench::{
    record::run::RunRecord,
    report::{self, Options, Screen},
    stats::{gate::Gate, summary::Summary, verdict::Verdict},
};

use crate::support::Shape;

fn render(name: &str, record: &RunRecord, options: Options) -> String {
    let format = report::by_name(name, options).unwrap();
    let bytes = format.render(record, &Summary::new(record)).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn narrow(full: bool) -> Options {
    let screen = Screen {
        width: 80,
        colour: false,
    };
    Options {
        screen,
        full,
        summary: false,
    }
}

const FULL: Options = Options {
    screen: Screen {
        width: 100,
        colour: false,
    },
    full: true,
    summary: true,
};

/// A record in which much is wrong: what failed, what is missing, and names that are markup elsewhere.
fn troubled() -> RunRecord {
    let mut record = crate::support::record(&Shape::tensorflow(3));
    record.environment.cluster = "kube <b>|a&b*</b>\u{1}".into();
    record.environment.meter.from_cgroup = false;
    record.legs[0].error = Some("refused: <no>\n| \u{7} & \"so\"".into());
    record.legs[2].sweeps.truncate(12);
    record.legs[3].migration = None;
    for reading in record.legs[5]
        .sweeps
        .iter_mut()
        .flat_map(|sweep| &mut sweep.readings)
    {
        reading.counters.memory_anon = None;
    }
    record
}

#[test]
fn the_table_of_one_round() {
    let record = crate::support::record(&Shape::tensorflow(1));
    insta::assert_snapshot!(render("table", &record, Options::default()));
}

#[test]
fn the_table_of_six_rounds() {
    let record = crate::support::record(&Shape::tensorflow(6));
    insta::assert_snapshot!(render("table", &record, FULL));
}

#[test]
fn the_first_screen_is_a_screen() {
    for record in [
        crate::support::record(&Shape::tensorflow(1)),
        crate::support::record(&Shape::tensorflow(6)),
        crate::support::record(&Shape::smoke()),
        troubled(),
    ] {
        let table = render("table", &record, narrow(false));
        let verdict = table.lines().nth(1).unwrap();
        assert!(verdict.starts_with("CPU at least 20.0 % less: "), "{table}");
        // `run` adds an empty line and one with the path of the record.
        assert!(
            table.lines().count() <= 22,
            "{} lines\n{table}",
            table.lines().count()
        );
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn what_is_troubled_is_told_on_the_first_screen_and_in_full() {
    insta::assert_snapshot!(render("table", &troubled(), narrow(false)));
    let full = render("table", &troubled(), narrow(true));
    for line in full.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for dash in full.match_indices('–').map(|(at, _)| &full[at..]) {
        assert!(dash.starts_with("– ["), "a dash without its reason: {dash}");
    }
}

#[test]
fn the_failure_of_another_container_is_not_hidden() {
    let mut record = crate::support::record(&Shape::tensorflow(1));
    for sweep in &mut record.legs[0].sweeps {
        for reading in &mut sweep.readings {
            // Neither trainer nor monitor of the migrated pod works.
            if [3, 5].contains(&reading.epoch) {
                reading.counters.usage_usec = Some(7);
            }
        }
    }
    let full = render("table", &record, FULL);
    for container in ["tensorflow-trainer", "model-monitor"] {
        assert!(
            full.contains(&format!("{container} runs but used no CPU")),
            "{full}"
        );
    }
}

#[test]
fn the_metrics_as_csv() {
    let record = crate::support::record(&Shape::tensorflow(6));
    insta::assert_snapshot!(render("csv", &record, FULL));
}

#[test]
fn what_one_arm_alone_tells_of_has_its_own_interval_and_no_comparison() {
    let record = crate::support::record(&Shape::tensorflow(6));
    let summary = Summary::new(&record);
    let metric = summary.comparisons[0].metric("pause_write").unwrap();
    assert!(
        metric
            .baseline
            .get()
            .unwrap_err()
            .contains("tells nothing of a pause")
    );
    let (mean, [low, high]) = (metric.candidate.value.unwrap(), metric.candidate95.value.unwrap());
    // 121 to 126 ms: mean 123.5, standard error √3.5/√6, t(5, .975) 2.5706.
    assert!((mean - 0.1235).abs() < 1e-12, "{mean}");
    assert!(
        (high - mean - 0.001_963_3).abs() < 1e-7 && (mean - low - 0.001_963_3).abs() < 1e-7,
        "{low} {high}"
    );
    assert_eq!((metric.saved.value, metric.interval95.value), (None, None));
    let gate = |text: &str| text.parse::<Gate>().unwrap().judge(&summary)[0].0;
    assert_eq!(gate("pause_write<126.5ms"), Verdict::Met);
    assert_eq!(gate("pause_write<126ms"), Verdict::NotMet, "round 6 took 126 ms");
    assert_eq!(gate("pause_write<50%"), Verdict::Inconclusive);
}

#[test]
fn the_time_of_each_container_and_of_work_done_before_is_told() {
    let record = crate::support::record(&Shape::tensorflow(6));
    let comparison = &Summary::new(&record).comparisons[0];
    let of = |name: &str, container: Option<&str>| {
        let mut metrics = comparison.metrics.iter();
        metrics
            .find(|metric| metric.name == name && metric.container.as_deref() == container)
            .unwrap()
    };
    let [again, all] = [
        ("repeated_cpu_seconds", None),
        ("cpu_seconds", Some("data-processor")),
    ]
    .map(|(name, container)| of(name, container));
    for metric in [again, all] {
        let spent = metric.baseline.value.unwrap();
        assert!(
            (spent - 31.5).abs() < 0.8,
            "700 m for 45 s, the last reading within a second of its end: {spent}"
        );
        assert_eq!(metric.candidate.value, Some(0.0));
        assert!(metric.saved95.value.is_some());
    }
    let containers = ["tensorflow-trainer", "data-processor", "model-monitor"];
    let sum: f64 = containers
        .iter()
        .map(|name| of("cpu_seconds", Some(name)).candidate.value.unwrap())
        .sum();
    assert!(
        (sum - of("cpu_seconds", None).candidate.value.unwrap()).abs() < 0.1,
        "{sum}"
    );
}

#[test]
fn a_sample_of_an_invalid_phase_says_so() {
    let csv = render("csv", &troubled(), Options::default());
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert!(rows.len() > 200);
    for row in &rows {
        assert_eq!(&row[10], "false", "readings of processes do not count: {row:?}");
        assert!(row[11].contains("not cgroup counters"));
    }
    let record = crate::support::record(&Shape::tensorflow(1));
    let csv = render("csv", &record, Options::default());
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let of_pod = rows.iter().filter(|row| row[6].is_empty());
    assert_eq!(of_pod.count(), 4 * 20, "two legs of two phases of 20 samples");
    assert!(rows.iter().all(|row| &row[10] == "true" && row[11].is_empty()));
}

#[test]
fn markdown() {
    insta::assert_snapshot!(render("markdown", &troubled(), Options::default()));
}

#[test]
fn junit_is_xml_with_a_case_for_each_metric() {
    let text = render("junit", &troubled(), Options::default());
    insta::assert_snapshot!(text);
    let mut reader = quick_xml::Reader::from_str(&text);
    let (mut cases, mut errors) = (0, 0);
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Start(element) => cases += usize::from(element.name().0 == b"testcase"),
            quick_xml::events::Event::Empty(element) => errors += u32::from(element.name().0 == b"error"),
            quick_xml::events::Event::Eof => break,
            _ => {}
        }
    }
    let metrics = Summary::new(&troubled()).comparisons[0].metrics.len();
    assert_eq!((cases, errors), (metrics, 1));
}

#[test]
fn prometheus_own_parser_takes_the_openmetrics() {
    for record in [crate::support::record(&Shape::tensorflow(6)), troubled()] {
        crate::prometheus::reads(&render("openmetrics", &record, Options::default()));
    }
}
