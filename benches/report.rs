//! What a report of a large record costs: `cargo bench --bench report`.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::unwrap_used, reason = "a bench, not the program")]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use migbench::{
    report::{self, Options},
    stats::summary::Summary,
};
use support::Shape;

fn reports(criterion: &mut Criterion) {
    let record = support::record(&Shape::tensorflow(20));
    let text = serde_json::to_vec(&record).unwrap();
    let mut group = criterion.benchmark_group("20 rounds");
    group.sample_size(20);
    group.bench_function("read run.json", |bench| {
        bench.iter(|| serde_json::from_slice::<migbench::record::run::RunRecord>(&text).unwrap());
    });
    group.bench_function("summary", |bench| bench.iter(|| Summary::new(&record)));
    let summary = Summary::new(&record);
    for known in report::FORMATS {
        let format = (known.make)(Options::default());
        group.bench_function(BenchmarkId::new("render", known.name), |bench| {
            bench.iter(|| format.render(&record, &summary).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, reports);
criterion_main!(benches);
