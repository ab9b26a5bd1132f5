//! What each format costs for a record of a million readings, seconds and peak memory, as a table in Markdown:
//! `cargo bench --bench million`. There are two records: one of many rounds, and one of a round with many samples. A number
//! behind `--` stands for another than a million.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench, not the program"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    env, fs, io,
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use migbench::{
    record::{run::RunRecord, store},
    report::{self, Options},
    stats::summary::Summary,
};
use support::Shape;

/// Asks a process for one format of one record, so that its peak is of that format alone.
const FORMAT: &str = "MIGBENCH_BENCH_FORMAT";
const RECORD: &str = "MIGBENCH_BENCH_RECORD";

fn main() -> ExitCode {
    if let (Ok(format), Some(record)) = (env::var(FORMAT), env::var_os(RECORD)) {
        one(&format, Path::new(&record));
        return ExitCode::SUCCESS;
    }
    let wanted = env::args().skip(1).find_map(|argument| argument.parse().ok());
    let wanted: usize = wanted.unwrap_or(1_000_000);
    let of_samples = |samples| Shape {
        samples,
        ..Shape::tensorflow(1)
    };
    let of_rounds = sized(wanted, Shape::tensorflow);
    let of_samples = sized(wanted, of_samples);
    for (record, what) in [
        (of_rounds, "many rounds"),
        (of_samples, "many samples in a phase"),
    ] {
        all(&record, what);
    }
    ExitCode::SUCCESS
}

/// A record of about so many readings, by a shape of a size that they grow with.
fn sized(wanted: usize, shape: impl Fn(u32) -> Shape) -> RunRecord {
    let of = |size| readings(&support::record(&shape(size)));
    let (few, more) = (of(100), of(200));
    let size = 100 + wanted.saturating_sub(few) * 100 / (more - few);
    support::record(&shape(size.try_into().unwrap()))
}

fn readings(record: &RunRecord) -> usize {
    let sweeps = record.legs.iter().flat_map(|leg| &leg.sweeps);
    sweeps.map(|sweep| sweep.readings.len()).sum()
}

fn all(record: &RunRecord, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(store::RECORD);
    let text = serde_json::to_vec(record).unwrap();
    println!(
        "\n{} readings, {what}; run.json has {} MB\n",
        readings(record),
        text.len() / 1_000_000
    );
    fs::write(&path, text).unwrap();
    println!("| format | seconds | peak, MiB |\n|---|---|---|");
    for format in ["none"]
        .into_iter()
        .chain(report::FORMATS.map(|known| known.name))
    {
        let mut process = Command::new(env::current_exe().unwrap());
        let output = process.env(FORMAT, format).env(RECORD, &path).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        println!("| {format} | {} |", told.trim());
    }
}

/// Read the record, compute its summary, and write it in a format.
fn one(format: &str, record: &Path) {
    let began = Instant::now();
    let record = store::read(record).unwrap();
    let summary = Summary::new(&record);
    let options = Options {
        full: true,
        ..Options::default()
    };
    if let Some(format) = report::by_name(format, options) {
        format.write(&record, &summary, &mut io::sink()).unwrap();
    }
    println!("{:.1} | {}", began.elapsed().as_secs_f64(), peak_mebibytes());
}

fn peak_mebibytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
