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
    hint::black_box,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, response::Response};
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main,
    measurement::WallTime,
};
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
    let media_type = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = Request::builder().method(method).uri(path);
    let body = if body.is_null() {
        Body::empty()
    } else {
        Body::from(body.to_string())
    };
    let request = request.header("content-type", media_type).body(body).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

/// Write a pod's status, another one each time.
async fn write(router: &Router, round: usize) {
    let path = format!("{PODS}/pod-00003/status");
    let status = json!({"status": {"message": format!("step {round}")}});
    let written = send(router, "PATCH", &path, &status).await;
    assert_eq!(written.status(), 200);
}

fn of_size(criterion: &mut Criterion, pods: usize) {
    let cluster = Cluster::with_pods(pods);
    let mut group = criterion.benchmark_group(format!("{pods} pods"));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("list", |bench| {
        bench.iter(|| {
            cluster.runtime.block_on(async {
                let list = send(&cluster.router, "GET", PODS, &Value::Null).await;
                black_box(list.into_body().collect().await.unwrap().to_bytes().len())
            })
        });
    });
    let mut round = 0;
    group.bench_function("write, and all that it sets off", |bench| {
        bench.iter(|| {
            round += 1;
            cluster.runtime.block_on(async {
                write(&cluster.router, round).await;
                settle().await;
            });
        });
    });
    for watchers in [1, WATCHERS] {
        if watchers == 1 || pods == SIZES[0] {
            write_to_watch(&mut group, &cluster, watchers, &mut round);
        }
    }
    group.finish();
}

/// From before a write until every watch has its event; with the percentiles, which criterion does not print.
fn write_to_watch(
    group: &mut BenchmarkGroup<'_, WallTime>,
    cluster: &Cluster,
    watchers: usize,
    round: &mut usize,
) {
    let mut taken = Vec::new();
    let mut streams = cluster.runtime.block_on(watching(&cluster.router, watchers));
    group.bench_function(BenchmarkId::new("write to watch", watchers), |bench| {
        bench.iter_custom(|rounds| {
            let mut sum = Duration::ZERO;
            for _ in 0..rounds {
                *round += 1;
                let begun = Instant::now();
                cluster.runtime.block_on(async {
                    write(&cluster.router, *round).await;
                    for stream in &mut streams {
                        black_box(stream.next().await.unwrap());
                    }
                });
                taken.push(begun.elapsed());
                sum += begun.elapsed();
                cluster.runtime.block_on(settle());
            }
            sum
        });
    });
    taken.sort();
    // None, if another bench was asked for.
    if let Some(last) = taken.len().checked_sub(1) {
        let at = |share: usize| taken[last * share / 100];
        println!(
            "{watchers} watchers: p50 {:?}, p99 {:?} of {}",
            at(50),
            at(99),
            taken.len()
        );
    }
}

fn sizes(criterion: &mut Criterion) {
    for pods in SIZES {
        of_size(criterion, pods);
    }
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

criterion_group!(benches, sizes);
criterion_main!(benches);
