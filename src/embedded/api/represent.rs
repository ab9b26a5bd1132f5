//! The form of an answer that the client asks for: whole objects, their metadata, or a table for people.

use std::{borrow::Cow, collections::BTreeMap};

use http::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    events,
    query::Query,
    resource::Resource,
    table::{self, RowObject, metadata_only},
    verbs::Page,
};

/// The form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As stored.
    Object,
    /// An event as `events.k8s.io/v1` has it.
    NewEvent,
    /// Metadata only.
    Metadata,
    /// `kubectl get`.
    Table(RowObject),
}

impl Form {
    /// The first acceptable form that can be given.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query) -> Self {
        let accept = headers
            .get(http::header::ACCEPT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let row = match query.text("includeObject") {
            "Object" => RowObject::Object,
            "None" => RowObject::None,
            _ => RowObject::Metadata,
        };
        accept
            .split(',')
            .find_map(|clause| Self::of_clause(clause, row))
            .unwrap_or(Self::Object)
    }

    fn of_clause(clause: &str, row: RowObject) -> Option<Self> {
        let mut parts = clause.split(';').map(str::trim);
        if parts.next() != Some("application/json") {
            return None;
        }
        let parameters: Vec<_> = parts.collect();
        let has = |parameter: &str| parameters.contains(&parameter);
        match parameters
            .iter()
            .find_map(|parameter| parameter.strip_prefix("as="))
        {
            None => Some(Self::Object),
            Some("Table") if has("v=v1") => Some(Self::Table(row)),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if has("v=v1") => {
                Some(Self::Metadata)
            }
            Some(_) => None,
        }
    }

    /// One object in this form.
    pub(crate) fn object<'a>(self, resource: &Resource, object: &'a Value) -> Cow<'a, Value> {
        match self {
            Self::Object => Cow::Borrowed(object),
            Self::NewEvent => Cow::Owned(events::shown(object)),
            Self::Metadata => Cow::Owned(metadata_only(object)),
            Self::Table(row) => {
                let version = &object["metadata"]["resourceVersion"];
                let metadata = json!({"resourceVersion": version});
                Cow::Owned(table::render(resource, [object], &metadata, row))
            }
        }
    }

    /// A page in this form.
    pub(crate) fn list<'a>(self, resource: &Resource, page: &'a Page) -> Listing<'a> {
        let mut metadata = json!({"resourceVersion": page.revision.to_string()});
        if !page.token.is_empty() {
            metadata["continue"] = json!(page.token);
        }
        if let Some(remaining) = page.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        let objects = page.objects.iter().map(AsRef::as_ref);
        match self {
            Self::Object => Listing::Objects {
                kind: format!("{}List", resource.kind),
                api_version: resource.api_version(),
                metadata,
                items: objects.map(|object| list_item(resource, object)).collect(),
            },
            Self::NewEvent => Listing::Other(json!({
                "kind": "EventList", "apiVersion": "events.k8s.io/v1", "metadata": metadata,
                "items": objects.map(events::shown).collect::<Vec<_>>(),
            })),
            Self::Metadata => Listing::Other(json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "items": objects.map(metadata_only).collect::<Vec<_>>(),
            })),
            Self::Table(row) => Listing::Other(table::render(resource, objects, &metadata, row)),
        }
    }
}

/// A list as it is answered. Whole objects are not copied for it.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum Listing<'a> {
    /// Objects as they are stored.
    Objects {
        kind: String,
        api_version: String,
        metadata: Value,
        items: Vec<BTreeMap<&'a str, &'a Value>>,
    },
    /// What is made of them.
    Other(Value),
}

/// Built-in kinds leave their kind out of list items, as the API server does.
fn list_item<'a>(resource: &Resource, object: &'a Value) -> BTreeMap<&'a str, &'a Value> {
    let is_left_out = |field: &str| !resource.is_custom() && ["kind", "apiVersion"].contains(&field);
    let fields = object.as_object().into_iter().flatten();
    fields
        .map(|(field, value)| (field.as_str(), value))
        .filter(|(field, _)| !is_left_out(field))
        .collect()
}
