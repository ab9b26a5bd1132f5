//! The REST contract over HTTP: see [`crate::contract::orchestrator`] for the shapes, and `docs/orchestrator.md` for people.

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, MatchedPath, Path, Query, Request, State},
    http::{
        StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;

use super::{
    analysis::refusals::Refused,
    answer::{error, refused},
    caller::{Caller, Demand, Refusal},
    door::{self, Door},
    failure::Reason,
    metrics,
    order::{Order, Spelling},
    service::Service,
};
use crate::contract::orchestrator::{ErrorBody, Health, Migration, MigrationRequest, MigrationStatus};

/// Header of a request that may be repeated: the same key and the same request mean the same migration.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Seconds after which a request may be tried again that found the queue full.
const AGAIN_AFTER: &str = "30";

/// All routes, in both spellings, behind a door.
pub fn router(service: Service, door: Door) -> Router {
    let routes = Router::new()
        .route("/health", get(health))
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(exposition))
        .nest("/api/v1", api(Spelling::V1))
        .nest("/api", api(Spelling::Plain))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "Not found", "there is no such route") })
        .method_not_allowed_fallback(|| async {
            let details = "the route is there, for another method";
            error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", details)
        })
        .layer(DefaultBodyLimit::max(door::BODY_LIMIT));
    door.before(routes)
        .layer(from_fn_with_state(service.clone(), count))
        .with_state(service)
}

async fn count(
    State(service): State<Service>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let answer = next.run(request).await;
    let path = path.as_ref().map(MatchedPath::as_str);
    service.recorder().answered(&method, path, answer.status());
    answer
}

fn api(spelling: Spelling) -> Router<Service> {
    let create = move |service, caller, request| create(service, caller, spelling, request);
    Router::new()
        .route("/migrations", post(create).get(list))
        .route("/migrations/{id}", get(show).delete(cancel))
        .route("/migrations/{id}/status", get(status))
        .route("/metrics", get(metrics))
}

async fn health(State(service): State<Service>) -> Json<Health> {
    Json(Health {
        status: "healthy".to_owned(),
        service: "ai-storage-orchestrator".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        leader: service.readiness().check().await.ok().flatten(),
    })
}

async fn ready(State(service): State<Service>) -> Response {
    match service.readiness().check().await {
        Ok(_) => "ok".into_response(),
        Err(missing) => error(StatusCode::SERVICE_UNAVAILABLE, "Not ready", &missing),
    }
}

async fn exposition(State(service): State<Service>, Extension(caller): Extension<Caller>) -> Response {
    if let Err(refusal) = caller.demand(Demand::Count).await {
        return refused(&refusal);
    }
    let text = service.recorder().text(&service.migrations());
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// In which namespace a migration is looked for where several have its id.
#[derive(Debug, Deserialize)]
struct Place {
    namespace: Option<String>,
}

async fn create(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    spelling: Spelling,
    request: Request,
) -> Response {
    let key = request.headers().get(IDEMPOTENCY_KEY);
    let key = key.map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    let body = match door::json(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
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
    let dry_run = request.dry_run;
    let checked = Order::check(request, spelling);
    let order = match checked.and_then(|order| service.check_serves(&order.namespace).map(|()| order)) {
        Ok(order) => order,
        Err(why) => return error(StatusCode::BAD_REQUEST, "Validation failed", &why),
    };
    if let Err(refusal) = caller.demand(Demand::Migrate(order.namespace.clone())).await {
        return refused(&refusal);
    }
    if dry_run {
        let plan = service.plan(&order).await.map(|plan| Json(plan).into_response());
        return plan.unwrap_or_else(|failure| refusal(&failure.into()));
    }
    match service.accept(order, key.as_deref()).await {
        Ok(migration) => (StatusCode::ACCEPTED, Json(migration)).into_response(),
        Err(refused) => refusal(&refused),
    }
}

/// Those of the namespaces that the caller may see.
async fn list(State(service): State<Service>, Extension(caller): Extension<Caller>) -> Response {
    let mut seen = Vec::new();
    for migration in service.migrations() {
        match caller
            .demand(Demand::See(migration.details.pod_namespace.clone()))
            .await
        {
            Ok(()) => seen.push(migration),
            Err(Refusal::Forbidden(_)) => {}
            Err(refusal) => return refused(&refusal),
        }
    }
    Json(seen).into_response()
}

async fn show(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(place): Query<Place>,
) -> Result<Json<Migration>, Response> {
    find(&service, &caller, &id, &place).await.map(Json)
}

async fn status(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(place): Query<Place>,
) -> Result<Json<MigrationStatus>, Response> {
    let migration = find(&service, &caller, &id, &place).await?;
    Ok(Json(summary(migration)))
}

/// Who may have it made may have it given up.
async fn cancel(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(place): Query<Place>,
) -> Response {
    let namespace = match find(&service, &caller, &id, &place).await {
        Ok(migration) => migration.details.pod_namespace,
        Err(refusal) => return refusal,
    };
    if let Err(refusal) = caller.demand(Demand::Migrate(namespace.clone())).await {
        return refused(&refusal);
    }
    match service.cancel(&id, Some(&namespace)).await {
        Ok(Some(migration)) => (StatusCode::ACCEPTED, Json(migration)).into_response(),
        Ok(None) => unknown(&id),
        Err(failure) => refusal(&failure.into()),
    }
}

/// A migration that the caller may see.
async fn find(service: &Service, caller: &Caller, id: &str, place: &Place) -> Result<Migration, Response> {
    let found = service.migration(id, place.namespace.as_deref()).await;
    let found = found.map_err(|failure| refusal(&failure.into()))?;
    let migration = found.ok_or_else(|| unknown(id))?;
    let demand = Demand::See(migration.details.pod_namespace.clone());
    caller.demand(demand).await.map_err(|refusal| refused(&refusal))?;
    Ok(migration)
}

async fn metrics(State(service): State<Service>, Extension(caller): Extension<Caller>) -> Response {
    match caller.demand(Demand::Count).await {
        Ok(()) => Json(service.metrics()).into_response(),
        Err(refusal) => refused(&refusal),
    }
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

fn refusal(Refused { failure, plan }: &Refused) -> Response {
    let code = match failure.reason {
        Reason::PodNotFound => StatusCode::NOT_FOUND,
        Reason::ApiUnavailable | Reason::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
        Reason::ApiRefused => StatusCode::BAD_GATEWAY,
        Reason::QueueFull => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::CONFLICT,
    };
    let body = ErrorBody {
        error: failure.reason.to_string(),
        details: failure.message.clone(),
        refusals: plan
            .iter()
            .flat_map(|plan| &plan.refusals)
            .map(Into::into)
            .collect(),
    };
    let answer = (code, Json(body));
    match failure.reason {
        Reason::QueueFull => ([(RETRY_AFTER, AGAIN_AFTER)], answer).into_response(),
        _ => answer.into_response(),
    }
}

#[cfg(test)]
mod tests;
