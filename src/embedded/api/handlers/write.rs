//! create, replace, patch.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header::USER_AGENT};
use serde_json::{Value, json};

use super::Call;
use crate::embedded::api::{
    apply,
    body::{self, Decoded, FieldValidation},
    events,
    patch::Patch,
    status::{ApiError, Cause},
    store::{Object, State},
    verbs::{self, WriteOptions},
};

const WARNING: HeaderName = HeaderName::from_static("warning");

pub(super) fn create(call: &Call, bytes: &[u8]) -> Result<Response, ApiError> {
    let decoded = decode(call, body::parse(&call.sent, &call.headers, bytes)?)?;
    let options = options(call)?;
    let created = call
        .server
        .store
        .write(|state| verbs::create(state, &call.target, decoded.object, &options))?;
    Ok(warn(
        call.answer(StatusCode::CREATED, &created),
        &decoded.warnings,
    ))
}

pub(super) fn replace(call: &Call, bytes: &[u8]) -> Result<Response, ApiError> {
    let decoded = decode(call, body::parse(&call.sent, &call.headers, bytes)?)?;
    let options = options(call)?;
    let replaced = call
        .server
        .store
        .write(|state| verbs::update(state, &call.target, &options, |_| Ok(decoded.object)))?;
    Ok(warn(call.answer(StatusCode::OK, &replaced), &decoded.warnings))
}

pub(super) fn patch(call: &Call, bytes: &[u8]) -> Result<Response, ApiError> {
    if body::media_type(&call.headers) == apply::MEDIA_TYPE {
        return server_side_apply(call, bytes);
    }
    let patch = Patch::parse(&call.sent, body::media_type(&call.headers), bytes)?;
    let options = options(call)?;
    let mut warnings = Vec::new();
    let patched = call.server.store.write(|state| {
        verbs::update(state, &call.target, &options, |old| {
            let patched = if events::is_newer(&call.sent) {
                patch.apply(&events::shown(old))?
            } else {
                patch.apply(old)?
            };
            let decoded = decode(call, patched)?;
            warnings = decoded.warnings;
            verbs::check_patched_uid(&call.target, old, &decoded.object)?;
            Ok(decoded.object)
        })
    })?;
    Ok(warn(call.answer(StatusCode::OK, &patched), &warnings))
}

/// Server-side apply, which also creates what is not there.
fn server_side_apply(call: &Call, bytes: &[u8]) -> Result<Response, ApiError> {
    if call.query.text("fieldManager").is_empty() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(ApiError::invalid_options("PatchOptions", &[cause]));
    }
    let config =
        body::yaml(bytes).map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
    let decoded = decode(call, config)?;
    if decoded.object.pointer("/metadata/managedFields").is_some() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let options = WriteOptions {
        applied: true,
        ..options(call)?
    };
    let (code, applied) = call
        .server
        .store
        .write(|state| apply_to(state, call, &decoded.object, &options))?;
    Ok(warn(call.answer(code, &applied), &decoded.warnings))
}

fn apply_to(
    state: &mut State,
    call: &Call,
    config: &Value,
    options: &WriteOptions,
) -> Result<(StatusCode, Object), ApiError> {
    let target = &call.target;
    let force = call.query.flag("force");
    let writer = options.writer(target);
    let exists = state.get(&target.object_key()?).is_some();
    if exists {
        let changed = verbs::update(state, target, options, |live| {
            verbs::check_patched_uid(target, live, config)?;
            apply::apply(live, config, writer, force)
        });
        return changed.map(|object| (StatusCode::OK, object));
    }
    if target.subresource.is_some() {
        return Err(target.not_found());
    }
    let object = apply::apply(&json!({}), config, writer, force)?;
    verbs::create(state, target, object, options).map(|object| (StatusCode::CREATED, object))
}

fn decode(call: &Call, object: Value) -> Result<Decoded, ApiError> {
    let validation = FieldValidation::parse(call.query.text("fieldValidation"))?;
    let decoded = body::decode(&call.sent, object, validation)?;
    Ok(if events::is_newer(&call.sent) {
        Decoded {
            object: events::stored(&decoded.object),
            ..decoded
        }
    } else {
        decoded
    })
}

fn options(call: &Call) -> Result<WriteOptions, ApiError> {
    Ok(WriteOptions {
        dry_run: dry_run(call)?,
        manager: manager(call),
        applied: false,
        own: false,
    })
}

/// Whether the query asks for `dryRun=All`, the only kind there is.
pub(super) fn dry_run(call: &Call) -> Result<bool, ApiError> {
    match call.query.text("dryRun") {
        "" => Ok(false),
        "All" => Ok(true),
        other => {
            let cause = Cause::not_supported("dryRun", &other.into(), &["All"]);
            Err(ApiError::invalid_options("PatchOptions", &[cause]))
        }
    }
}

/// Who writes: the `fieldManager`, else the first word of the user agent.
fn manager(call: &Call) -> String {
    let stated = call.query.text("fieldManager");
    if !stated.is_empty() {
        return stated.into();
    }
    let agent = call.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    agent
        .and_then(|agent| agent.split('/').next())
        .filter(|word| !word.is_empty())
        .unwrap_or("unknown")
        .into()
}

fn warn(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        let text = format!("299 - \"{}\"", warning.replace('"', "\\\""));
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}
