//! What the embedded cluster's API costs, in process, as the number of pods grows: `cargo bench --bench embedded_api`.
//!
//! Everything runs on one thread, so that what a write sets off (controllers, watches) is part of what it costs.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench, not the program"
)]

use std::{
    cell::RefCell,
    hint::black_box,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, response::Response};
use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use migbench::embedded::api::Api;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SIZES: [usize; 3] = [10, 1_000, 10_000];
const WATCHERS: usize = 1_000;

/// An API with so many pods on one node.
struct Cluster {
    runtime: Runtime,
    router: Router,
    _api: Api,
}

impl Cluster {
    fn with_pods(pods: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (api, router) = runtime.block_on(async {
            let api = Api::new();
            let router = api.router();
            for number in 0..pods {
                let made = send(&router, "POST", PODS, &pod(number)).await;
                assert_eq!(made.status(), 201);
            }
            settle().await;
            (api, router)
        });
        Self {
            runtime,
            router,
            _api: api,
        }
    }
}

/// Let everything happen that is due.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn pod(number: usize) -> Value {
    let container = json!({
        "name": "trainer", "image": "tensorflow/tensorflow:2.13.0", "command": ["python", "-m", "trainer"],
        "env": [{"name": "STEPS", "value": "1000"}, {"name": "OUT", "value": "/data/out"}],
        "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    json!({
        "metadata": {"name": format!("pod-{number:05}"), "labels": {"app": "trainer", "number": number.to_string()}},
        "spec": {
            "nodeName": "gpu-server-03", "containers": [container],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    })
}

async fn send(router: &Router, method: &str, path: &str, body: &Value) -> Response {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/merge-patch+json");
    let body = if body.is_null() {
        Body::empty()
    } else {
        Body::from(body.to_string())
    };
    let response = router.clone().oneshot(request.body(body).unwrap()).await;
    response.unwrap()
}

/// Write the status of a pod, another one each time.
async fn write(router: &Router, round: usize) {
    let path = format!("{PODS}/pod-00003/status");
    let status = json!({"status": {"message": format!("step {round}")}});
    let written = send(router, "PATCH", &path, &status).await;
    assert_eq!(written.status(), 200);
}

fn lists(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("list");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for pods in SIZES {
        let cluster = Cluster::with_pods(pods);
        group.bench_function(BenchmarkId::from_parameter(pods), |bench| {
            bench.iter(|| {
                cluster.runtime.block_on(async {
                    let list = send(&cluster.router, "GET", PODS, &Value::Null).await;
                    black_box(list.into_body().collect().await.unwrap().to_bytes().len())
                })
            });
        });
    }
    group.finish();
}

/// A write, and all that it sets off.
fn writes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for pods in SIZES {
        let cluster = Cluster::with_pods(pods);
        let mut round = 0;
        group.bench_function(BenchmarkId::from_parameter(pods), |bench| {
            bench.iter(|| {
                round += 1;
                cluster.runtime.block_on(async {
                    write(&cluster.router, round).await;
                    settle().await;
                });
            });
        });
    }
    group.finish();
}

/// From before a write until a watch has its event; with the percentiles, which criterion does not print.
fn watches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write to watch");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (pods, watchers) in SIZES.map(|pods| (pods, 1)).into_iter().chain([(10, WATCHERS)]) {
        let cluster = Cluster::with_pods(pods);
        let taken = RefCell::new(Vec::new());
        let mut round = 0;
        let mut streams = cluster.runtime.block_on(watching(&cluster.router, watchers));
        let name = format!("{pods} pods, {watchers} watchers");
        group.bench_function(BenchmarkId::from_parameter(&name), |bench| {
            bench.iter_custom(|rounds| {
                let mut sum = Duration::ZERO;
                for _ in 0..rounds {
                    round += 1;
                    let begun = Instant::now();
                    cluster.runtime.block_on(async {
                        write(&cluster.router, round).await;
                        for stream in &mut streams {
                            black_box(stream.next().await.unwrap());
                        }
                    });
                    taken.borrow_mut().push(begun.elapsed());
                    sum += begun.elapsed();
                    cluster.runtime.block_on(settle());
                }
                sum
            });
        });
        let mut taken = taken.into_inner();
        taken.sort();
        let at = |share: usize| taken[(taken.len() - 1) * share / 100];
        println!("{name}: p50 {:?}, p99 {:?} of {}", at(50), at(99), taken.len());
    }
    group.finish();
}

type Events = futures::stream::BoxStream<'static, axum::body::Bytes>;

/// Watches that have shown the present state.
async fn watching(router: &Router, watchers: usize) -> Vec<Events> {
    let path = format!("{PODS}?watch=true&fieldSelector=metadata.name%3Dpod-00003&timeoutSeconds=86000");
    let mut streams = Vec::new();
    for _ in 0..watchers {
        let watch = send(router, "GET", &path, &Value::Null).await;
        let mut events = watch.into_body().into_data_stream().map(Result::unwrap).boxed();
        black_box(events.next().await.unwrap());
        streams.push(events);
    }
    streams
}

criterion_group!(benches, lists, writes, watches);
criterion_main!(benches);
