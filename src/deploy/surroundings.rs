//! What the scenario's pod needs beside itself.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use kube::{Api, Client};

use crate::{
    k8s::{Error, apply::of_run},
    scenario::Scenario,
};

/// Apply what the scenario's pod needs: claims and the workload's files.
pub async fn apply(client: &Client, namespace: &str, run: &str, scenario: &Scenario) -> Result<(), Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    for claim in &scenario.claims {
        of_run(&claims, claim, run).await?;
    }
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    for config_map in &scenario.config_maps {
        of_run(&config_maps, config_map, run).await?;
    }
    Ok(())
}
