//! What a reading costs: a kept descriptor against the two usual ways, and a sweep over many containers.
//!
//! `cargo bench --bench reading`. The first group reads a real `cpu.stat`; without a v2 mount it is left out.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench, not the program"
)]

use std::{
    fs::{self, File},
    hint::black_box,
    io::Read,
    path::Path,
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use migbench::{
    record::reading::{Segment, Sweep},
    sample::{
        counter_file::{CounterFile, EMPTY},
        locate::Location,
        mounts::Mounts,
        probe::CgroupProbe,
        sampler::Followed,
    },
};

fn one_file(criterion: &mut Criterion) {
    let Some(path) = Mounts::detect().unwrap().v2.map(|mount| mount.join("cpu.stat")) else {
        println!("skipped: no v2 hierarchy is mounted here");
        return;
    };
    let mut group = criterion.benchmark_group("one cpu.stat");
    let kept = CounterFile::open(path.clone()).unwrap();
    group.bench_function("kept descriptor", |bench| {
        let mut buffer = EMPTY;
        bench.iter(|| kept.read(black_box(&mut buffer)).unwrap().len());
    });
    group.bench_function("open, read, close", |bench| {
        let mut buffer = EMPTY;
        bench.iter(|| File::open(black_box(&path)).unwrap().read(&mut buffer).unwrap());
    });
    group.bench_function("read_to_string", |bench| {
        bench.iter(|| fs::read_to_string(black_box(&path)).unwrap().len());
    });
    group.finish();
}

/// Counter files in a temporary directory: what is measured is this program's share, not the kernel's.
fn container(root: &Path, number: usize) -> CgroupProbe {
    let directory = root.join(number.to_string());
    fs::create_dir(&directory).unwrap();
    let files = [
        (
            "cpu.stat",
            "usage_usec 123456789\nuser_usec 100000000\nsystem_usec 23456789\nnr_throttled 7\nthrottled_usec 9\n",
        ),
        ("memory.current", "1036812288\n"),
        (
            "memory.stat",
            "anon 744488960\nfile 292323328\nkernel 1\ninactive_file 146161664\n",
        ),
        ("memory.peak", "1036812288\n"),
    ];
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
    CgroupProbe::open(&Location {
        v2: Some(directory),
        ..Location::default()
    })
    .0
}

fn many_cgroups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sweep");
    for containers in [1, 10, 100] {
        let root = tempfile::tempdir().unwrap();
        let followed = Followed::default();
        for (epoch, number) in (0..).zip(0..containers) {
            followed.add(epoch, Box::new(container(root.path(), number)));
        }
        group.throughput(Throughput::Elements(containers as u64));
        group.bench_function(BenchmarkId::from_parameter(containers), |bench| {
            let mut buffer = EMPTY;
            let empty = || Sweep {
                segment: Segment::Before,
                tick: 0,
                due_ns: 0,
                readings: Vec::with_capacity(containers),
                ended: Vec::new(),
                node: None,
            };
            bench.iter_batched_ref(
                empty,
                |sweep| followed.sweep(&mut buffer, sweep),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, one_file, many_cgroups);
criterion_main!(benches);
