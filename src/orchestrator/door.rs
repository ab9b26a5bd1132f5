//! What a request has to be like before any route sees it.

use std::time::Duration;

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequest, Request, State},
    http::{StatusCode, Uri, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use tokio::time::timeout;

use super::{
    answer::{error, refused},
    caller::{Caller, Gate},
};

/// Who can be asked without telling who asks.
const OPEN: [&str; 3] = ["/health", "/livez", "/readyz"];

/// Longest body, bytes.
pub(super) const BODY_LIMIT: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY: Duration = Duration::from_secs(10);

/// Who is let in.
#[derive(Debug, Clone)]
pub enum Door {
    /// Whoever is on this host. Its browsers are, too: a page of any site can have a name of its own resolve to the loopback
    /// address, so the request must name a loopback host.
    Local,
    /// Who brings a token that the API server accepts.
    Guarded(Gate),
}

impl Door {
    pub(super) fn before<S: Clone + Send + Sync + 'static>(self, routes: Router<S>) -> Router<S> {
        match self {
            Self::Local => routes.layer(from_fn(local)),
            Self::Guarded(gate) => routes.layer(from_fn_with_state(gate, guarded)),
        }
    }
}

async fn local(mut request: Request, next: Next) -> Response {
    if !host(&request).is_some_and(|host| is_loopback(&host)) {
        let details = "here the host is localhost or a loopback address, and the request names another one";
        return error(StatusCode::MISDIRECTED_REQUEST, "Misdirected request", details);
    }
    request.extensions_mut().insert(Caller::Local);
    next.run(request).await
}

async fn guarded(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if !OPEN.contains(&request.uri().path()) {
        match gate.identify(request.headers()).await {
            Ok(caller) => request.extensions_mut().insert(caller),
            Err(refusal) => return refused(&refusal),
        };
    }
    next.run(request).await
}

/// The host that a request is for, without its port.
fn host(request: &Request) -> Option<String> {
    if let Some(host) = request.uri().host() {
        return Some(host.to_owned());
    }
    let header = request.headers().get(header::HOST)?.to_str().ok()?;
    Some(header.parse::<Uri>().ok()?.host()?.to_owned())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The body of a request that says itself that it is JSON: a web page can send anything else without being asked whether it
/// may.
///
/// # Errors
/// The answer to one that cannot be read.
pub(super) async fn json(request: Request) -> Result<Bytes, Response> {
    let media_type = request.headers().get(header::CONTENT_TYPE);
    let media_type = media_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let details = "send JSON, and the header Content-Type: application/json";
        return Err(error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Unsupported media type",
            details,
        ));
    }
    match timeout(BODY, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(refusal)) if refusal.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let details = format!("at most {BODY_LIMIT} bytes");
            Err(error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Request too large",
                &details,
            ))
        }
        Ok(Err(refusal)) => Err(error(
            refusal.status(),
            "Invalid request format",
            &refusal.body_text(),
        )),
        Err(_) => {
            let details = format!("the body was not there within {} s", BODY.as_secs());
            Err(error(StatusCode::REQUEST_TIMEOUT, "Request timeout", &details))
        }
    }
}
