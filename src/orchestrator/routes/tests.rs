//! The routes, asked without a network.

use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::orchestrator::simulation::{Fault, Simulation};

async fn ask(router: &Router, method: &str, path: &str, body: impl Into<Body>) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path);
    let request = request
        .header("host", "localhost:8080")
        .header("content-type", "application/json");
    let request = request.body(body.into()).unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

fn body(change: impl FnOnce(&mut Value)) -> String {
    let mut body = json!({
        "pod_name": "job", "pod_namespace": "ml", "source_node": "gpu", "target_node": "worker",
        "preserve_pv": true, "timeout": 300
    });
    change(&mut body);
    body.to_string()
}

async fn routes() -> (Router, Simulation) {
    routes_with(Fault::None).await
}

async fn routes_with(fault: Fault) -> (Router, Simulation) {
    let simulation = Simulation::with(fault).await;
    (router(simulation.service(false), Door::Local), simulation)
}

#[tokio::test]
async fn health_names_the_service() {
    let (router, _simulation) = routes().await;
    let (code, body) = ask(&router, "GET", "/health", "").await;
    assert_eq!((code, &body["status"]), (200, &json!("healthy")));
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn requests_that_make_no_sense_are_400_with_the_known_words() {
    let (router, _simulation) = routes().await;
    let malformed = ["{", "[]", "{\"pod_name\": \"job\"}"];
    for body in malformed {
        let (code, answer) = ask(&router, "POST", "/api/v1/migrations", body).await;
        assert_eq!(
            (code, &answer["error"]),
            (400, &json!("Invalid request format")),
            "{body}"
        );
    }
    let senseless = [
        body(|b| b["target_node"] = json!("gpu")),
        body(|b| b["timeout"] = json!(-1)),
        body(|b| {
            b.as_object_mut().unwrap().remove("pod_namespace");
        }),
    ];
    for body in senseless {
        let (code, answer) = ask(&router, "POST", "/api/v1/migrations", body).await;
        assert_eq!((code, &answer["error"]), (400, &json!("Validation failed")));
    }
}

async fn post(router: &Router, media_type: Option<&str>, body: impl Into<Body>) -> (u16, Value) {
    let mut request = Request::post("/api/v1/migrations").header("host", "[::1]:8080");
    if let Some(media_type) = media_type {
        request = request.header("content-type", media_type);
    }
    let answer = router
        .clone()
        .oneshot(request.body(body.into()).unwrap())
        .await
        .unwrap();
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn only_json_is_taken_that_says_so_and_is_not_too_long() {
    let (router, _simulation) = routes().await;
    let forms = [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonx"),
    ];
    for media_type in forms {
        assert_eq!(
            post(&router, media_type, body(|_| {})).await.0,
            415,
            "{media_type:?}"
        );
    }
    let json = Some("Application/JSON; charset=utf-8");
    let (code, answer) = post(&router, json, body(|b| b["target_node"] = json!("nowhere"))).await;
    assert_eq!((code, &answer["error"]), (409, &json!("TargetNotFound")));
    let (code, answer) = post(&router, json, " ".repeat(door::BODY_LIMIT + 1)).await;
    assert_eq!((code, &answer["error"]), (413, &json!("Request too large")));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (router, _simulation) = routes().await;
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let (code, _) = post(&router, Some("application/json"), never).await;
    assert_eq!(code, 408);
}

#[tokio::test]
async fn other_origins_are_told_nothing() {
    let (router, _simulation) = routes().await;
    let request = Request::options("/api/v1/migrations").header("host", "localhost");
    let request = request
        .header("origin", "http://evil.example")
        .header("access-control-request-method", "POST");
    let answer = router
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.status(), 405);
    let cors = |name: &http::HeaderName| name.as_str().starts_with("access-control");
    assert!(!answer.headers().keys().any(cors), "{:?}", answer.headers());
}

#[tokio::test]
async fn the_spelling_without_v1_means_the_default_namespace() {
    let (router, _simulation) = routes().await;
    let without = body(|b| {
        b.as_object_mut().unwrap().remove("pod_namespace");
    });
    let (code, answer) = ask(&router, "POST", "/api/migrations", without).await;
    assert_eq!((code, &answer["error"]), (404, &json!("PodNotFound")));
}

#[tokio::test]
async fn refusals_carry_their_reason() {
    let (router, _simulation) = routes().await;
    let elsewhere = body(|b| b["source_node"] = json!("other"));
    let (code, answer) = ask(&router, "POST", "/api/v1/migrations", elsewhere).await;
    assert_eq!((code, &answer["error"]), (409, &json!("SourceNodeMismatch")));
    let nowhere = body(|b| b["target_node"] = json!("nowhere"));
    let (code, answer) = ask(&router, "POST", "/api/v1/migrations", nowhere).await;
    assert_eq!((code, &answer["error"]), (409, &json!("TargetNotFound")));
}

#[tokio::test]
async fn every_reason_is_told_at_once() {
    let (router, simulation) = routes().await;
    let before = simulation.pods().await;
    let wrong = |b: &mut Value| {
        b["source_node"] = json!("other");
        b["target_node"] = json!("nowhere");
    };
    let (code, answer) = ask(&router, "POST", "/api/v1/migrations", body(wrong)).await;
    assert_eq!((code, &answer["error"]), (409, &json!("SourceNodeMismatch")));
    let refusals = answer["refusals"].clone();
    let reasons: Vec<_> = refusals
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["reason"])
        .collect();
    assert_eq!(reasons, ["SourceNodeMismatch", "TargetNotFound"]);
    assert_eq!(refusals[1]["about"], "node/nowhere");

    let dry = body(|b| {
        wrong(b);
        b["dry_run"] = json!(true);
    });
    let (code, plan) = ask(&router, "POST", "/api/v1/migrations", dry).await;
    assert_eq!((code, &plan["refusals"]), (200, &refusals));
    assert_eq!(simulation.pods().await, before);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    let (router, simulation) = routes().await;
    let before = simulation.pods().await;
    let dry = body(|b| b["dry_run"] = json!(true));
    let (code, plan) = ask(&router, "POST", "/api/migrations", dry).await;
    assert_eq!((code, &plan["refusals"]), (200, &json!([])), "{plan}");
    let actions: Vec<_> = plan["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["action"])
        .collect();
    assert_eq!(actions, ["restore", "skip", "start-anew"]);
    assert_eq!(
        (&plan["order"], &plan["volumes"][0]["kept"]),
        (&json!("target-first"), &json!(true))
    );
    assert_eq!(
        plan["room"][0],
        json!({"resource": "cpu", "requested": 1700, "free": 4000})
    );
    assert_eq!(ask(&router, "GET", "/api/v1/migrations", "").await.1, json!([]));
    assert_eq!(simulation.pods().await, before);
}

#[tokio::test]
async fn unknown_migrations_and_routes_are_404() {
    let (router, _simulation) = routes().await;
    for path in [
        "/api/v1/migrations/migration-00000000",
        "/api/migrations/x/status",
    ] {
        let (code, answer) = ask(&router, "GET", path, "").await;
        assert_eq!((code, &answer["error"]), (404, &json!("Migration not found")));
    }
    assert_eq!(ask(&router, "GET", "/api/v2/migrations", "").await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_second_migration_of_a_pod_is_refused_with_the_id_of_the_first() {
    let (router, _simulation) = routes_with(Fault::NoNewStep).await;
    let (_, accepted) = ask(&router, "POST", "/api/v1/migrations", body(|_| {})).await;
    let (code, answer) = ask(&router, "POST", "/api/migrations", body(|_| {})).await;
    assert_eq!((code, &answer["error"]), (409, &json!("MigrationActive")));
    let id = accepted["migration_id"].as_str().unwrap();
    assert!(answer["details"].as_str().unwrap().contains(id), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_migration_can_be_followed_by_its_id() {
    let (router, _simulation) = routes().await;
    let (code, accepted) = ask(&router, "POST", "/api/v1/migrations", body(|_| {})).await;
    assert_eq!((code, &accepted["status"]), (202, &json!("pending")));
    let id = accepted["migration_id"].as_str().unwrap();

    let path = format!("/api/migrations/{id}/status");
    let mut status = ask(&router, "GET", &path, "").await.1;
    while status["end_time"].is_null() {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        status = ask(&router, "GET", &path, "").await.1;
    }
    assert_eq!(status["status"], "completed", "{status}");
    let (_, list) = ask(&router, "GET", "/api/v1/migrations", "").await;
    let (_, whole) = ask(&router, "GET", &format!("/api/v1/migrations/{id}"), "").await;
    assert_eq!(list, json!([whole]));
    let (_, metrics) = ask(&router, "GET", "/api/v1/metrics", "").await;
    assert_eq!(metrics["successful_migrations"], 1);
    assert_eq!(metrics["average_duration"], whole["details"]["duration"]);
    assert!(metrics["process_cpu_seconds_total"].as_f64().unwrap() > 0.0);
    assert_eq!(metrics["cpu_savings_percentage"], Value::Null);
}
