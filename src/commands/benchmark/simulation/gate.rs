//! What refuses requests and cuts watches.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use serde_json::json;
use tokio::time::sleep;

use super::{Fault, world::World};

/// Stands between the run and its API server.
pub(super) async fn gate(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let watches = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("watch=true"));
    let of_pods = path.contains("/namespaces/migbench-") && path.contains("/pods");
    let makes = *request.method() == Method::PATCH && of_pods;
    let removes = *request.method() == Method::DELETE && path.ends_with("/pods");
    match world.fault {
        Fault::DeployRefused if makes => return refusal(StatusCode::FORBIDDEN),
        Fault::RemovalRefused if removes && !world.struck.swap(true, Ordering::Relaxed) => {
            return refusal(StatusCode::FORBIDDEN);
        }
        Fault::WatchExpired if removes && world.strikes(Fault::WatchExpired) => {
            let answer = next.run(request).await;
            world.cut.cancel();
            return answer;
        }
        Fault::WatchExpired if of_pods && watches && world.cut.is_cancelled() => {
            // Long enough for the pods to go.
            sleep(Duration::from_secs(5)).await;
            if !world.expired.swap(true, Ordering::Relaxed) {
                return refusal(StatusCode::GONE);
            }
        }
        _ => {}
    }
    let answer = next.run(request).await;
    if of_pods && watches && !world.cut.is_cancelled() {
        let (head, body) = answer.into_parts();
        let until_cut = body
            .into_data_stream()
            .take_until(world.cut.clone().cancelled_owned());
        return Response::from_parts(head, Body::from_stream(until_cut));
    }
    answer
}

fn refusal(code: StatusCode) -> Response {
    let reason = if code == StatusCode::GONE {
        "Expired"
    } else {
        "Forbidden"
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": "simulated", "code": code.as_u16()});
    (code, axum::Json(status)).into_response()
}
