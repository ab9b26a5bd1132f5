//! Listing, page by page.

use base64::{DecodeError, Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::embedded::api::{
    selector::Selector,
    status::ApiError,
    store::{Key, Object, State},
    target::Target,
};

/// Which page.
#[derive(Debug, Clone, Default)]
pub(crate) struct PageRequest {
    /// At most so many objects; 0 for all.
    pub(crate) limit: usize,
    /// The token of the page before; empty for the first.
    pub(crate) token: String,
}

/// Objects, and how to go on.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Object>,
    /// The version at which the first page was taken: a watch goes on from here.
    pub(crate) revision: u64,
    /// Empty on the last page.
    pub(crate) token: String,
    /// How many are left after this page. Not told to who selects, for a real server does not count what it filters out.
    pub(crate) remaining: Option<usize>,
}

/// What the token holds. Later pages show the present state: changes since the first page are also seen by the watch
/// that follows a list, so nothing is missed.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    v: String,
    rv: u64,
    start: [String; 2],
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// The objects of the target's collection that the selector matches.
pub(crate) fn list(
    state: &State,
    target: &Target,
    selector: &Selector,
    request: &PageRequest,
) -> Result<Page, ApiError> {
    let (revision, start) = position(state, &request.token)?;
    let resource = target.resource.qualified();
    let matching = |(key, object): &(&Key, &Object)| {
        start
            .as_ref()
            .is_none_or(|[namespace, name]| (&key.namespace, &key.name) > (namespace, name))
            && selector.matches(object)
    };
    let all: Vec<_> = state
        .list(&resource, target.namespace.as_deref())
        .filter(matching)
        .collect();
    let limit = if request.limit == 0 {
        all.len()
    } else {
        request.limit.min(all.len())
    };
    let (page, rest) = all.split_at(limit);
    let token = page
        .last()
        .filter(|_| !rest.is_empty())
        .map(|(key, _)| token(revision, key));
    Ok(Page {
        objects: page.iter().map(|(_, object)| (*object).clone()).collect(),
        revision,
        token: token.unwrap_or_default(),
        remaining: (!rest.is_empty() && selector.is_empty()).then_some(rest.len()),
    })
}

fn token(revision: u64, last: &Key) -> String {
    let start = [last.namespace.clone(), last.name.clone()];
    let token = Continue {
        v: TOKEN_VERSION.into(),
        rv: revision,
        start,
    };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

fn position(state: &State, token: &str) -> Result<(u64, Option<[String; 2]>), ApiError> {
    if token.is_empty() {
        return Ok((state.revision(), None));
    }
    let invalid = |error: String| {
        ApiError::bad_request(format!(
            "invalid continue token: continue key is not valid: {error}"
        ))
    };
    let illegal = |error| match error {
        DecodeError::InvalidByte(position, _) | DecodeError::InvalidLastSymbol(position, _) => position,
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => 0,
    };
    let bytes = URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|error| invalid(format!("illegal base64 data at input byte {}", illegal(error))))?;
    let token: Continue = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if state.since(token.rv).is_err() {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a new \
                       list without the continue parameter.";
        return Err(ApiError::expired(message));
    }
    Ok((token.rv, Some(token.start)))
}
