//! The form of an answer that the client asks for: whole objects, their metadata, or a table for people.

use http::HeaderMap;
use serde_json::{Value, json};

use super::{
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
    pub(crate) fn object(self, resource: &Resource, object: &Value) -> Value {
        match self {
            Self::Object => object.clone(),
            Self::Metadata => metadata_only(object),
            Self::Table(row) => {
                let version = &object["metadata"]["resourceVersion"];
                table::render(resource, [object], &json!({"resourceVersion": version}), row)
            }
        }
    }

    /// A page in this form.
    pub(crate) fn list(self, resource: &Resource, page: &Page) -> Value {
        let mut metadata = json!({"resourceVersion": page.revision.to_string()});
        if !page.token.is_empty() {
            metadata["continue"] = json!(page.token);
        }
        if let Some(remaining) = page.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        let objects = page.objects.iter().map(AsRef::as_ref);
        match self {
            Self::Object => json!({
                "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(), "metadata": metadata,
                "items": objects.map(|object| list_item(resource, object)).collect::<Vec<_>>(),
            }),
            Self::Metadata => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "items": objects.map(metadata_only).collect::<Vec<_>>(),
            }),
            Self::Table(row) => table::render(resource, objects, &metadata, row),
        }
    }
}

/// Built-in kinds leave their kind out of list items, as the API server does.
fn list_item(resource: &Resource, object: &Value) -> Value {
    let mut item = object.clone();
    if !resource.is_custom()
        && let Some(fields) = item.as_object_mut()
    {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    item
}
