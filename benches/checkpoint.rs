//! What a checkpoint of the built-in trainer costs a pause: written, hashed, synced, read and verified, against a plain write,
//! sync and read of as many bytes on the same file system, which nothing can beat. Both read what was just written, so mostly
//! from memory, as on one node.
//!
//! `cargo bench --bench checkpoint`; 1 GB too, with `MIGBENCH_BENCH_LARGE=1`. `TMPDIR` says where.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench, not the program"
)]

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use migbench::workload::{
    checkpoint::{load_manifest, write},
    weights::Weights,
};

/// Rounds of which the ratio is the median.
const ROUNDS: usize = 9;

/// One trainer and one that goes on from its checkpoints.
struct Pair {
    source: Weights,
    target: Weights,
    step: u64,
}

impl Pair {
    fn of(bytes: usize) -> Self {
        let source = Weights::new(bytes, 0);
        let target = source.clone();
        Self {
            source,
            target,
            step: 0,
        }
    }

    fn hand_over(&mut self, dir: &Path) -> Duration {
        self.step += 1;
        let begun = Instant::now();
        let manifest = write(dir, 1, self.step, &mut self.source, true).unwrap();
        load_manifest(dir, &manifest, &mut self.target).unwrap();
        let taken = begun.elapsed();
        fs::remove_dir_all(dir.join(&manifest.directory)).unwrap();
        taken
    }
}

fn plain(dir: &Path, content: &mut [u8]) -> Duration {
    let path = dir.join("plain");
    let begun = Instant::now();
    let mut file = File::create(&path).unwrap();
    file.write_all(content).unwrap();
    file.sync_all().unwrap();
    File::open(&path).unwrap().read_exact(content).unwrap();
    let taken = begun.elapsed();
    fs::remove_file(&path).unwrap();
    taken
}

fn sizes() -> Vec<usize> {
    let large = std::env::var_os("MIGBENCH_BENCH_LARGE").map(|_| 1000);
    [10, 100].into_iter().chain(large).collect()
}

fn checkpoints(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("checkpoint");
    group.sample_size(10);
    for megabytes in sizes() {
        let bytes = megabytes * 1_000_000;
        let (mut pair, mut content) = (Pair::of(bytes), vec![7; bytes]);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("plain", format!("{megabytes} MB")), |bench| {
            bench.iter_custom(|times| (0..times).map(|_| plain(dir.path(), &mut content)).sum());
        });
        group.bench_function(BenchmarkId::new("verified", format!("{megabytes} MB")), |bench| {
            bench.iter_custom(|times| (0..times).map(|_| pair.hand_over(dir.path())).sum());
        });
        let mut ratios: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let limit = plain(dir.path(), &mut content);
                pair.hand_over(dir.path()).as_secs_f64() / limit.as_secs_f64()
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "checkpoint/ratio/{megabytes} MB: {:.2} × plain",
            ratios[ROUNDS / 2]
        );
    }
    group.finish();
}

criterion_group!(benches, checkpoints);
criterion_main!(benches);
