//! Patches: the languages in which a change can be described. Server-side apply, the fourth, is in [`super::apply`].

mod strategic;

use serde_json::Value;

use super::{resource::Resource, status::ApiError};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// A patch that has been read.
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own, which merges lists by their keys.
    Strategic(Value),
}

impl Patch {
    /// Read a patch of this media type. Custom resources have no strategic merge: their lists have no known keys.
    pub(crate) fn parse(resource: &Resource, media_type: &str, bytes: &[u8]) -> Result<Self, ApiError> {
        match media_type {
            JSON => Ok(Self::Json(read(bytes)?)),
            MERGE => Ok(Self::Merge(read(bytes)?)),
            STRATEGIC if !resource.is_custom() => Ok(Self::Strategic(read(bytes)?)),
            _ => Err(ApiError::unsupported_media_type(&accepted(resource))),
        }
    }

    /// The object after the patch.
    pub(crate) fn apply(&self, object: &Value) -> Result<Value, ApiError> {
        let mut patched = object.clone();
        match self {
            Self::Json(patch) => {
                json_patch::patch(&mut patched, patch).map_err(|_| ApiError::unprocessable_patch())?;
            }
            Self::Merge(patch) => json_patch::merge(&mut patched, patch),
            Self::Strategic(patch) => strategic::merge(&mut patched, patch).map_err(ApiError::bad_request)?,
        }
        Ok(patched)
    }
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn accepted(resource: &Resource) -> String {
    let strategic = if resource.is_custom() {
        None
    } else {
        Some(STRATEGIC)
    };
    let types: Vec<_> = [JSON, MERGE]
        .into_iter()
        .chain(strategic)
        .chain([super::apply::MEDIA_TYPE])
        .collect();
    types.join(", ")
}
