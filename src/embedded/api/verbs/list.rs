//! Listing, page by page.

use base64::{DecodeError, Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::text;
use crate::embedded::api::{
    selector::Selector,
    status::ApiError,
    store::{Key, Object, State},
    target::Target,
};

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

/// The objects of a collection from a position on, as they were at one moment. Taking it is all that is done under the
/// store's lock.
#[derive(Debug)]
pub(crate) struct Snapshot {
    objects: Vec<Object>,
    revision: u64,
}

/// Take the target's collection, from the page on that the token is for; empty for the first.
pub(crate) fn snapshot(state: &State, target: &Target, token: &str) -> Result<Snapshot, ApiError> {
    let (revision, start) = position(state, token)?;
    let resource = target.resource.qualified();
    let is_left = |key: &Key| {
        start
            .as_ref()
            .is_none_or(|[namespace, name]| (&key.namespace, &key.name) > (namespace, name))
    };
    let listed = state.list(&resource, target.namespace.as_deref());
    Ok(Snapshot {
        objects: listed
            .filter(|(key, _)| is_left(key))
            .map(|(_, object)| object.clone())
            .collect(),
        revision,
    })
}

impl Snapshot {
    /// The objects that the selector matches, at most so many; 0 for all.
    pub(crate) fn page(self, selector: &Selector, limit: usize) -> Page {
        let Self {
            mut objects,
            revision,
        } = self;
        objects.retain(|object| selector.matches(object));
        let rest = match limit {
            0 => 0,
            limit => objects.len().saturating_sub(limit),
        };
        objects.truncate(objects.len() - rest);
        let last = objects.last().filter(|_| rest > 0);
        Page {
            token: last.map(|object| token(revision, object)).unwrap_or_default(),
            objects,
            revision,
            remaining: (rest > 0 && selector.is_empty()).then_some(rest),
        }
    }
}

fn token(revision: u64, last: &Object) -> String {
    let start = ["/metadata/namespace", "/metadata/name"].map(|field| text(last, field).to_owned());
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
