//! As much of `OpenAPI` v3 as `kubectl apply` looks at: that each kind can be patched, and that the patch knows
//! `fieldValidation` and `dryRun`. There are no schemas; `kubectl explain` has nothing to show.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{
    Server,
    resource::{self, Resource},
    status::ApiError,
};

/// `/openapi/v3`: one document for each group and version.
pub(crate) async fn index(State(server): State<Server>) -> Json<Value> {
    let resources = server.store.read(resource::all);
    let paths: Map<_, _> = resources
        .iter()
        .map(|resource| {
            let place = place(resource);
            let entry = json!({"serverRelativeURL": format!("/openapi/v3/{place}")});
            (place, entry)
        })
        .collect();
    Json(json!({"paths": paths}))
}

/// `/openapi/v3/apis/<group>/<version>`.
pub(crate) async fn document(State(server): State<Server>, Path(wanted): Path<String>) -> Response {
    let resources = server.store.read(resource::all);
    let paths: Map<_, _> = resources
        .iter()
        .filter(|resource| place(resource) == wanted)
        .map(|resource| (path(resource), json!({"patch": patch_operation(resource)})))
        .collect();
    if paths.is_empty() {
        return ApiError::unknown_resource().into_response();
    }
    let document = json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"}, "paths": paths,
        "components": {"schemas": {}},
    });
    Json(document).into_response()
}

fn place(resource: &Resource) -> String {
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", resource.api_version())
}

fn path(resource: &Resource) -> String {
    let namespace = if resource.namespaced {
        "namespaces/{namespace}/"
    } else {
        ""
    };
    format!("/{}/{namespace}{}/{{name}}", place(resource), resource.plural)
}

fn patch_operation(resource: &Resource) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    let parameters = ["dryRun", "fieldManager", "fieldValidation", "force"].map(parameter);
    json!({
        "operationId": format!("patch{}", resource.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind":
            {"group": resource.group, "version": resource.version, "kind": resource.kind},
    })
}
