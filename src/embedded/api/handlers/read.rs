//! get, list, watch.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;

use super::Call;
use crate::embedded::api::{
    events,
    selector::Selector,
    status::ApiError,
    verbs,
    watch::{self, WatchRequest},
};

pub(super) fn get(call: &Call) -> Result<Response, ApiError> {
    let key = call.target.object_key()?;
    let found = call.server.store.read(|state| state.get(&key).cloned());
    let object = found.ok_or_else(|| call.target.not_found())?;
    Ok(call.answer(StatusCode::OK, &object))
}

pub(super) fn list(call: &Call) -> Result<Response, ApiError> {
    let selector = selector(call)?;
    let limit = call.query.number("limit")?.unwrap_or_default();
    let token = call.query.text("continue");
    let snapshot = call
        .server
        .store
        .read(|state| verbs::snapshot(state, &call.target, token))?;
    let page = snapshot.page(&selector, limit);
    Ok(Json(call.form().list(&call.target.resource, &page)).into_response())
}

pub(super) fn watch(call: &Call) -> Result<Response, ApiError> {
    let version = call.query.text("resourceVersion");
    let initial = call.query.flag("sendInitialEvents");
    let after = match version {
        "" | "0" => None,
        _ if initial => None,
        text => Some(text.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "invalid resource version \"{text}\": it must be one that the server gave"
            ))
        })?),
    };
    let request = WatchRequest {
        target: call.target.clone(),
        selector: selector(call)?,
        form: call.form(),
        after,
        bookmarks: call.query.flag("allowWatchBookmarks"),
        mark_initial: initial,
        timeout: call
            .query
            .number("timeoutSeconds")?
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
    };
    Ok(watch::start(call.server.store.clone(), request))
}

pub(super) fn selector(call: &Call) -> Result<Selector, ApiError> {
    let (labels, fields) = (call.query.text("labelSelector"), call.query.text("fieldSelector"));
    let fields = if events::is_newer(&call.sent) {
        events::stored_fields(fields)
    } else {
        fields.into()
    };
    let selector = Selector::parse(&call.target.resource, labels, &fields)?;
    Ok(match &call.target.name {
        Some(name) => selector.named(name),
        None => selector,
    })
}
