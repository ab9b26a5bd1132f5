//! What a client asks before anything else: version, groups, resources; each resource list in the old form and in the
//! aggregated one that saves kubectl a request per group.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::{Value, json};

use super::{
    Server,
    resource::{self, Resource},
    status::ApiError,
};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// The release whose behaviour this server was compared with.
const MINOR: &str = "35";
const RELEASE: &str = "v1.35.4";

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// `/version`.
pub(crate) async fn version() -> Json<Value> {
    Json(json!({
        "major": "1", "minor": MINOR, "gitVersion": format!("{RELEASE}+migbench-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    }))
}

/// The architecture as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/api`.
pub(crate) async fn core_versions(State(server): State<Server>, headers: HeaderMap) -> Response {
    if wants_aggregated(&headers) {
        return aggregated(&server, |resource| resource.group.is_empty());
    }
    Json(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})).into_response()
}

/// `/apis`.
pub(crate) async fn groups(State(server): State<Server>, headers: HeaderMap) -> Response {
    if wants_aggregated(&headers) {
        return aggregated(&server, |resource| !resource.group.is_empty());
    }
    let resources = server.store.read(resource::all);
    let groups: Vec<_> = group_names(&resources)
        .iter()
        .map(|name| group_entry(&resources, name))
        .collect();
    Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})).into_response()
}

/// `/apis/<group>`.
pub(crate) async fn one_group(State(server): State<Server>, Path(name): Path<String>) -> Response {
    let resources = server.store.read(resource::all);
    if !group_names(&resources).contains(&name) {
        return ApiError::unknown_resource().into_response();
    }
    let mut entry = group_entry(&resources, &name);
    entry["kind"] = json!("APIGroup");
    entry["apiVersion"] = json!("v1");
    Json(entry).into_response()
}

/// `/api/<version>`.
pub(crate) async fn core_resources(State(server): State<Server>, Path(version): Path<String>) -> Response {
    resource_list(&server, "", &version)
}

/// `/apis/<group>/<version>`.
pub(crate) async fn group_resources(
    State(server): State<Server>,
    Path((group, version)): Path<(String, String)>,
) -> Response {
    resource_list(&server, &group, &version)
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| {
            let mut clauses = accept.split(',').map(str::trim);
            clauses.any(|clause| clause == AGGREGATED)
        })
}

fn group_names(resources: &[Arc<Resource>]) -> Vec<String> {
    let mut names: Vec<_> = resources
        .iter()
        .map(|resource| resource.group.to_string())
        .collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

fn versions(resources: &[Arc<Resource>], group: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for resource in resources.iter().filter(|resource| resource.group == group) {
        if !versions.iter().any(|version| *version == resource.version) {
            versions.push(resource.version.to_string());
        }
    }
    versions
}

fn group_entry(resources: &[Arc<Resource>], name: &str) -> Value {
    let versions: Vec<_> = versions(resources, name)
        .iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

fn resource_list(server: &Server, group: &str, version: &str) -> Response {
    let resources = server.store.read(resource::all);
    let mut present = resources
        .iter()
        .filter(|one| one.group == group && one.version == version)
        .peekable();
    let Some(first) = present.peek() else {
        return ApiError::unknown_resource().into_response();
    };
    let group_version = first.api_version();
    let listed: Vec<_> = present.flat_map(|resource| listing(resource)).collect();
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed,
    });
    Json(list).into_response()
}

fn verbs(resource: &Resource) -> Vec<&'static str> {
    let collection = resource.rules.deletes_collections();
    let known = VERBS
        .into_iter()
        .filter(|verb| collection || *verb != "deletecollection");
    known.collect()
}

/// The subresources of a resource and the verbs they know.
fn subresources(resource: &Resource) -> Vec<(&'static str, &'static [&'static str])> {
    let mut subresources: Vec<(&str, &[&str])> = Vec::new();
    if resource.has_status {
        subresources.push(("status", &["get", "patch", "update"]));
    }
    if resource.qualified() == "pods" {
        subresources.extend([("exec", ["create", "get"].as_slice()), ("log", &["get"])]);
    }
    subresources
}

fn listing(resource: &Resource) -> Vec<Value> {
    let mut main = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": verbs(resource),
    });
    describe(resource, &mut main);
    let below = subresources(resource).into_iter().map(|(name, verbs)| {
        json!({
            "name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": verbs,
        })
    });
    [main].into_iter().chain(below).collect()
}

fn describe(resource: &Resource, entry: &mut Value) {
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if resource.in_all {
        entry["categories"] = json!(["all"]);
    }
}

fn aggregated(server: &Server, wanted: impl Fn(&Resource) -> bool) -> Response {
    let mut resources = server.store.read(resource::all);
    resources.retain(|resource| wanted(resource));
    let mut names: Vec<_> = resources
        .iter()
        .map(|resource| resource.group.to_string())
        .collect();
    names.sort();
    names.dedup();
    let items: Vec<_> = names
        .iter()
        .map(|name| aggregated_group(&resources, name))
        .collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    ([(CONTENT_TYPE, AGGREGATED)], list.to_string()).into_response()
}

fn aggregated_group(resources: &[Arc<Resource>], group: &str) -> Value {
    let versions: Vec<_> = versions(resources, group)
        .into_iter()
        .map(|version| {
            let present = resources
                .iter()
                .filter(|one| one.group == group && one.version == version);
            let listed: Vec<_> = present.map(|resource| aggregated_resource(resource)).collect();
            json!({"version": version, "freshness": "Current", "resources": listed})
        })
        .collect();
    let metadata = if group.is_empty() {
        json!({})
    } else {
        json!({"name": group})
    };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let below: Vec<_> = subresources(resource)
        .into_iter()
        .map(|(name, verbs)| json!({"subresource": name, "responseKind": kind, "verbs": verbs}))
        .collect();
    let mut entry = json!({
        "resource": resource.plural, "responseKind": kind, "singularResource": resource.singular, "verbs": verbs(resource),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
    });
    if !below.is_empty() {
        entry["subresources"] = json!(below);
    }
    describe(resource, &mut entry);
    entry
}
