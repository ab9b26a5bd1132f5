//! delete, deletecollection.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::Value;

use super::{Call, read, write};
use crate::embedded::api::{
    status::{self, ApiError, Cause},
    verbs::{self, DeleteOptions, Page, Propagation, text},
};

pub(super) fn one(call: &Call, bytes: &[u8]) -> Result<Response, ApiError> {
    let options = options(call, bytes)?;
    let deleted = call
        .server
        .store
        .write(|state| verbs::delete(state, &call.target, &options))?;
    if !deleted.gone || call.target.resource.rules.returns_deleted() {
        return Ok(call.answer(StatusCode::OK, &deleted.object));
    }
    let (name, uid) = (
        text(&deleted.object, "/metadata/name"),
        text(&deleted.object, "/metadata/uid"),
    );
    Ok(Json(status::success(call.target.resource.names(), name, uid)).into_response())
}

pub(super) fn collection(call: &Call, bytes: &[u8]) -> Result<Response, ApiError> {
    let options = options(call, bytes)?;
    let selector = read::selector(call)?;
    let page = call.server.store.write(|state| {
        let mut page = verbs::snapshot(state, &call.target, "")?.page(&selector, 0);
        for object in &mut page.objects {
            let mut target = call.target.with_name(text(object, "/metadata/name"));
            target.namespace = object
                .pointer("/metadata/namespace")
                .and_then(Value::as_str)
                .map(Into::into);
            *object = verbs::delete(state, &target, &options)?.object;
        }
        Ok::<Page, ApiError>(page)
    })?;
    Ok(Json(call.form().list(&call.target.resource, &page)).into_response())
}

/// The options in the body, else those in the query.
fn options(call: &Call, bytes: &[u8]) -> Result<DeleteOptions, ApiError> {
    let body: Value = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(bytes).map_err(|error| ApiError::bad_request(error.to_string()))?
    };
    let grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
    let precondition = |field: &str| {
        body.pointer(&format!("/preconditions/{field}"))
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    let dry_run = body["dryRun"]
        .as_array()
        .is_some_and(|list| list.iter().any(|word| word == "All"));
    let propagation = propagation(call, &body)?;
    Ok(DeleteOptions {
        propagation,
        grace_seconds: grace.or(call.query.number("gracePeriodSeconds")?),
        uid: precondition("uid"),
        version: precondition("resourceVersion"),
        dry_run: dry_run || write::dry_run(call)?,
    })
}

fn propagation(call: &Call, body: &Value) -> Result<Propagation, ApiError> {
    let stated = body["propagationPolicy"].as_str().unwrap_or_default();
    let stated = if stated.is_empty() {
        call.query.text("propagationPolicy")
    } else {
        stated
    };
    match (stated, body["orphanDependents"].as_bool()) {
        ("Foreground", _) => Ok(Propagation::Foreground),
        ("Orphan", _) | ("", Some(true)) => Ok(Propagation::Orphan),
        ("Background" | "", _) => Ok(Propagation::Background),
        (other, _) => {
            let known = ["Background", "Foreground", "Orphan"];
            let cause = Cause::not_supported("propagationPolicy", &other.into(), &known);
            Err(ApiError::invalid_options("DeleteOptions", &[cause]))
        }
    }
}
