//! From HTTP to verbs and back.

mod delete;
mod node;
mod read;
mod write;

use std::sync::Arc;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, request::Parts};
use http_body_util::BodyExt;
use serde_json::Value;

use super::{
    Server, events, query::Query, represent::Form, resource::Resource, status::ApiError, target::Target,
};

/// Largest body that is read: the API server's limit.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// A request with what the handlers ask of it.
#[derive(Debug)]
struct Call {
    server: Server,
    target: Target,
    /// What the path names, where that is another face of the target's resource.
    sent: Arc<Resource>,
    query: Query,
    headers: HeaderMap,
}

impl Call {
    fn form(&self) -> Form {
        match Form::negotiate(&self.headers, &self.query) {
            Form::Object if events::is_newer(&self.sent) => Form::NewEvent,
            form => form,
        }
    }

    /// Answer with an object in the form that was asked for.
    fn answer(&self, code: StatusCode, object: &Value) -> Response {
        (code, Json(self.form().object(&self.target.resource, object))).into_response()
    }
}

/// `/api/v1/…`.
pub(crate) async fn core(
    State(server): State<Server>,
    Path((version, path)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(server, ["", &version, &path], request).await
}

/// `/apis/<group>/<version>/…`.
pub(crate) async fn group(
    State(server): State<Server>,
    Path((group, version, path)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    respond(server, [&group, &version, &path], request).await
}

async fn respond(server: Server, place: [&str; 3], request: Request) -> Response {
    dispatch(server, place, request)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

async fn dispatch(server: Server, place: [&str; 3], request: Request) -> Result<Response, ApiError> {
    let [group, version, path] = place;
    let mut target = server
        .store
        .read(|state| Target::parse(state, group, version, path))?;
    let query = Query::of(request.uri())?;
    let (mut parts, body) = request.into_parts();
    let sent = target.resource.clone();
    target.resource = events::stored_as(&sent);
    let call = Call {
        server,
        target,
        sent,
        query,
        headers: parts.headers.clone(),
    };
    match call.target.subresource.as_deref() {
        None => object(call, &parts, body).await,
        Some("status") if call.target.resource.has_status => status(call, &parts, body).await,
        Some(subresource) if call.target.resource.qualified() == "pods" => {
            pod(&call, subresource, &mut parts).await
        }
        Some(_) => Err(ApiError::unknown_resource()),
    }
}

async fn object(call: Call, parts: &Parts, body: Body) -> Result<Response, ApiError> {
    let (named, resource) = (call.target.name.is_some(), &call.target.resource);
    // Over all namespaces there is nothing but reading.
    let everywhere = resource.namespaced && call.target.namespace.is_none();
    if everywhere && parts.method != Method::GET {
        return Err(ApiError::method_not_allowed());
    }
    match (parts.method.clone(), named) {
        (Method::GET, true) if !call.query.flag("watch") => read::get(&call),
        (Method::GET, _) if call.query.flag("watch") => read::watch(&call),
        (Method::GET, _) => read::list(&call),
        (Method::POST, false) => write::create(&call, &read_body(body).await?),
        (Method::PUT, true) => write::replace(&call, &read_body(body).await?),
        (Method::PATCH, true) => write::patch(&call, &read_body(body).await?),
        (Method::DELETE, true) => delete::one(&call, &read_body(body).await?),
        (Method::DELETE, false) if resource.rules.deletes_collections() => {
            delete::collection(&call, &read_body(body).await?)
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

async fn status(call: Call, parts: &Parts, body: Body) -> Result<Response, ApiError> {
    match parts.method {
        Method::GET => read::get(&call),
        Method::PUT => write::replace(&call, &read_body(body).await?),
        Method::PATCH => write::patch(&call, &read_body(body).await?),
        _ => Err(ApiError::method_not_allowed()),
    }
}

async fn pod(call: &Call, subresource: &str, parts: &mut Parts) -> Result<Response, ApiError> {
    match subresource {
        "log" if parts.method == Method::GET => node::log(call).await,
        "exec" if [Method::GET, Method::POST].contains(&parts.method) => node::exec(call, parts).await,
        "portforward" | "attach" => Err(ApiError::not_implemented(format!(
            "the embedded cluster has no {subresource}"
        ))),
        _ => Err(ApiError::unknown_resource()),
    }
}

async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    let limited = http_body_util::Limited::new(body, BODY_LIMIT);
    let collected = limited.collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| ApiError::bad_request(error.to_string()))
}
