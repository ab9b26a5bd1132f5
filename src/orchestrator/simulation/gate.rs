//! What goes wrong between the orchestrator and the API server.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Fault, Kill};

/// Stands between the orchestrator and the API server.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    fault: Fault,
    kill: Option<Kill>,
    /// Requests that change something, so far.
    changes: Arc<AtomicUsize>,
    /// It is time to kill the orchestrator.
    pub(super) killed: CancellationToken,
    /// Nothing goes wrong any more.
    pub(super) mended: Arc<AtomicBool>,
    /// Until when nothing is answered; unset until the fault has struck.
    away_until: Arc<OnceLock<Instant>>,
}

impl Gate {
    pub(super) fn new(fault: Fault, kill: Option<Kill>) -> Self {
        Self {
            fault,
            kill,
            changes: Arc::default(),
            killed: CancellationToken::new(),
            mended: Arc::default(),
            away_until: Arc::default(),
        }
    }

    pub(super) async fn pass(State(gate): State<Self>, request: Request, next: Next) -> Response {
        let path = request.uri().path();
        let changes = request.method() != Method::GET || path.ends_with("/exec");
        if !changes || gate.kill.is_none() {
            return gate.answer(request, next).await;
        }
        let number = gate.changes.fetch_add(1, Ordering::Relaxed);
        if gate.kill == Some(Kill::After(number)) {
            gate.answer(request, next).await;
        } else if gate.kill != Some(Kill::Before(number)) {
            return gate.answer(request, next).await;
        }
        gate.killed.cancel();
        std::future::pending().await
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        let path = request.uri().path();
        let creates = request.method() == Method::POST && path.ends_with("/pods");
        let deletes = request.method() == Method::DELETE && path.contains("/pods/");
        let removes = deletes && path.ends_with("/pods/job");
        let query = request.uri().query().unwrap_or_default();
        let reads = path.ends_with("/pods/job/log") && query.contains("container=trainer");
        let away = match self.fault {
            _ if self.mended.load(Ordering::Relaxed) => Duration::ZERO,
            Fault::CreateRefused if creates => return refusal(StatusCode::FORBIDDEN),
            Fault::DeleteRefused if removes => return refusal(StatusCode::FORBIDDEN),
            Fault::TargetDeleteRefused if deletes => return refusal(StatusCode::FORBIDDEN),
            Fault::SourceLogAway | Fault::SourceLogAwayWithoutEpochs if reads => {
                return refusal(StatusCode::INTERNAL_SERVER_ERROR);
            }
            Fault::DeleteAnsweredForbidden if removes => {
                next.run(request).await;
                return refusal(StatusCode::FORBIDDEN);
            }
            Fault::CreateAnswerLost if creates => Duration::from_secs(1),
            Fault::ApiAwayAtCutOver if removes => Duration::from_secs(300),
            _ => Duration::ZERO,
        };
        if self.away_until.get().is_some_and(|until| Instant::now() < *until) {
            return refusal(StatusCode::SERVICE_UNAVAILABLE);
        }
        let answer = next.run(request).await;
        if away > Duration::ZERO && self.away_until.set(Instant::now() + away).is_ok() {
            return refusal(StatusCode::SERVICE_UNAVAILABLE);
        }
        answer
    }
}

fn refusal(code: StatusCode) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Simulated",
        "message": "simulated", "code": code.as_u16()});
    (code, axum::Json(status)).into_response()
}
