//! What a caller is told who is not let in, and any other error.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
};

use super::caller::Refusal;
use crate::contract::orchestrator::ErrorBody;

/// A request of somebody who may not.
pub(super) fn refused(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Unauthenticated(why) => {
            let mut answer = error(StatusCode::UNAUTHORIZED, "Unauthorized", why);
            let challenge = HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            answer
        }
        Refusal::Forbidden(missing) => error(StatusCode::FORBIDDEN, "Forbidden", missing),
        Refusal::Unavailable(why) => error(StatusCode::SERVICE_UNAVAILABLE, "ApiUnavailable", why),
    }
}

/// An error in the shape that all have.
pub(super) fn error(code: StatusCode, error: &str, details: &str) -> Response {
    let body = ErrorBody {
        error: error.to_owned(),
        details: details.to_owned(),
        refusals: Vec::new(),
    };
    (code, Json(body)).into_response()
}
