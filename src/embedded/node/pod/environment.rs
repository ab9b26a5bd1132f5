//! The environment and the command of a container, from its spec, its image and what the spec refers to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapKeySelector, Container, EnvVar, EnvVarSource, Pod};
use kube::{Api, Client};

use super::expand::expand;
use crate::embedded::{images::Image, node::pod::status::ADDRESS};

/// Why a container's configuration cannot be made: message of `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct ConfigError(pub(crate) String);

/// Names and values, in order; the image's own first.
pub(crate) async fn environment(
    client: &Client,
    pod: &Pod,
    container: &Container,
    image: &Image,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = image.env.clone();
    variables.push((
        "HOSTNAME".to_owned(),
        pod.metadata.name.clone().unwrap_or_default(),
    ));
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(client, pod, variable, &variables).await? {
            variables.push((variable.name.clone(), value));
        }
    }
    // The last definition counts, as it does in a container: a process sees each name once.
    let last: BTreeMap<String, String> = variables.into_iter().collect();
    Ok(last.into_iter().collect())
}

async fn value(
    client: &Client,
    pod: &Pod,
    variable: &EnvVar,
    before: &[(String, String)],
) -> Result<Option<String>, ConfigError> {
    match &variable.value_from {
        None => Ok(Some(expand(
            variable.value.as_deref().unwrap_or_default(),
            before,
        ))),
        Some(EnvVarSource {
            field_ref: Some(field),
            ..
        }) => pod_field(pod, &field.field_path).map(Some),
        Some(EnvVarSource {
            config_map_key_ref: Some(selector),
            ..
        }) => {
            config_map_key(
                client,
                pod.metadata.namespace.as_deref().unwrap_or_default(),
                selector,
            )
            .await
        }
        Some(_) => Err(ConfigError(format!(
            "environment variable {}: the embedded cluster knows value, fieldRef and configMapKeyRef only",
            variable.name
        ))),
    }
}

fn pod_field(pod: &Pod, path: &str) -> Result<String, ConfigError> {
    let metadata = &pod.metadata;
    let entry = |map: &Option<BTreeMap<String, String>>, key: &str| map.as_ref()?.get(key).cloned();
    let key = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']").map(str::to_owned);
    let value = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" | "status.podIP" | "status.hostIPs" | "status.podIPs" => Some(ADDRESS.to_owned()),
        _ => match (key("metadata.labels['"), key("metadata.annotations['")) {
            (Some(key), _) => entry(&metadata.labels, &key),
            (_, Some(key)) => entry(&metadata.annotations, &key),
            _ => return Err(ConfigError(format!("unsupported fieldPath: {path}"))),
        },
    };
    Ok(value.unwrap_or_default())
}

async fn config_map_key(
    client: &Client,
    namespace: &str,
    selector: &ConfigMapKeySelector,
) -> Result<Option<String>, ConfigError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let optional = selector.optional.unwrap_or(false);
    let map = maps
        .get_opt(&selector.name)
        .await
        .map_err(|error| ConfigError(error.to_string()))?;
    match map {
        None if optional => Ok(None),
        None => Err(ConfigError(format!("configmap {:?} not found", selector.name))),
        Some(map) => match map.data.unwrap_or_default().remove(&selector.key) {
            None if !optional => {
                let (key, name) = (&selector.key, &selector.name);
                Err(ConfigError(format!(
                    "couldn't find key {key} in ConfigMap {namespace}/{name}"
                )))
            }
            found => Ok(found),
        },
    }
}

/// Program and arguments. The catalogue's images have no entrypoint of their own.
pub(crate) fn command(container: &Container, variables: &[(String, String)]) -> Vec<String> {
    let parts = container
        .command
        .iter()
        .flatten()
        .chain(container.args.iter().flatten());
    parts.map(|part| expand(part, variables)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        let metadata = json!({"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "a"}});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"nodeName": "w", "containers": []}}))
            .unwrap()
    }

    #[test]
    fn fields_of_the_pod_can_be_referred_to() {
        for (path, value) in [
            ("metadata.name", "p"),
            ("metadata.namespace", "n"),
            ("metadata.uid", "u"),
            ("spec.nodeName", "w"),
            ("metadata.labels['app']", "a"),
            ("metadata.labels['other']", ""),
        ] {
            assert_eq!(pod_field(&pod(), path).as_deref(), Ok(value), "{path}");
        }
        assert!(pod_field(&pod(), "spec.nosuch").is_err());
    }

    #[test]
    fn arguments_follow_the_command_and_both_are_expanded() {
        let container = json!({"name": "c", "command": ["run", "$(A)"], "args": ["--x=$(A)", "$(B)"]});
        let container: Container = serde_json::from_value(container).unwrap();
        let command = command(&container, &[("A".into(), "1".into())]);
        assert_eq!(command, ["run", "1", "--x=1", "$(B)"]);
    }
}
