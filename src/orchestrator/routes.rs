//! The REST contract over HTTP: see [`super::wire`] for the shapes, and `docs/orchestrator.md` for people.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{
    failure::{Failure, Reason},
    order::{Order, Spelling},
    service::Service,
    wire::{ErrorBody, Health, Migration, MigrationRequest, MigrationStatus},
};

/// All routes, in both spellings.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/health", get(health))
        .nest("/api/v1", api(Spelling::V1))
        .nest("/api", api(Spelling::Plain))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "Not found", "there is no such route") })
        .with_state(service)
}

fn api(spelling: Spelling) -> Router<Service> {
    let create = move |service, body| create(service, spelling, body);
    Router::new()
        .route("/migrations", post(create).get(list))
        .route("/migrations/{id}", get(show))
        .route("/migrations/{id}/status", get(status))
        .route("/metrics", get(metrics))
}

async fn health() -> Json<Health> {
    Json(Health {
        status: "healthy".to_owned(),
        service: "ai-storage-orchestrator".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

async fn create(State(service): State<Service>, spelling: Spelling, body: Bytes) -> Response {
    let request: MigrationRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(why) => {
            return error(
                StatusCode::BAD_REQUEST,
                "Invalid request format",
                &why.to_string(),
            );
        }
    };
    let order = match Order::check(request, spelling) {
        Ok(order) => order,
        Err(why) => return error(StatusCode::BAD_REQUEST, "Validation failed", &why),
    };
    match service.accept(order).await {
        Ok(migration) => (StatusCode::ACCEPTED, Json(migration)).into_response(),
        Err(failure) => refusal(&failure),
    }
}

async fn list(State(service): State<Service>) -> Response {
    Json(service.migrations()).into_response()
}

async fn show(State(service): State<Service>, Path(id): Path<String>) -> Response {
    service
        .migration(&id)
        .map_or_else(|| unknown(&id), |migration| Json(migration).into_response())
}

async fn status(State(service): State<Service>, Path(id): Path<String>) -> Response {
    service.migration(&id).map_or_else(
        || unknown(&id),
        |migration| Json(summary(migration)).into_response(),
    )
}

async fn metrics(State(service): State<Service>) -> Response {
    Json(service.metrics()).into_response()
}

fn summary(migration: Migration) -> MigrationStatus {
    let details = migration.details;
    MigrationStatus {
        migration_id: migration.migration_id,
        status: migration.status,
        message: migration.message,
        start_time: details.start_time,
        end_time: details.end_time,
        duration_seconds: details.duration.map(|nanoseconds| nanoseconds as f64 / 1e9),
    }
}

fn unknown(id: &str) -> Response {
    let details = format!("there is no migration {id}");
    error(StatusCode::NOT_FOUND, "Migration not found", &details)
}

fn refusal(failure: &Failure) -> Response {
    let code = match failure.reason {
        Reason::PodNotFound => StatusCode::NOT_FOUND,
        Reason::ApiUnavailable | Reason::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
        Reason::ApiRefused => StatusCode::BAD_GATEWAY,
        _ => StatusCode::CONFLICT,
    };
    error(code, &failure.reason.to_string(), &failure.message)
}

fn error(code: StatusCode, error: &str, details: &str) -> Response {
    let body = ErrorBody {
        error: error.to_owned(),
        details: details.to_owned(),
    };
    (code, Json(body)).into_response()
}
