//! The definition of the kind `Migration`, which the cluster has to have.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, CustomResourceExt,
    api::{ListParams, Patch, PatchParams},
};

use super::kubernetes::apis;
use crate::{
    contract::orchestrator::resource::Migration,
    k8s::{Error, labels::FIELD_MANAGER},
};

/// How often, and how many times, it is looked for: what was just applied needs a moment.
const LOOKS: (Duration, usize) = (Duration::from_millis(500), 20);

/// Have the cluster know what a migration is: where it does not, install it, if that is allowed. Those of these namespaces may
/// be listed then.
///
/// # Errors
/// It does not know it, and how that is mended; or they may not be listed.
pub async fn ensure(client: &Client, namespaces: &[String]) -> Result<(), Error> {
    for migrations in apis(client, namespaces) {
        match migrations.list(&ListParams::default().limit(1)).await {
            Err(error) if unknown(&error) => {
                match install(client).await {
                    Ok(()) => tracing::info!(definition = Migration::crd_name(), "installed"),
                    // Somebody else may be about to: then it is there in a moment.
                    Err(error) => tracing::debug!(%error, "not installed"),
                }
                check(&migrations).await?;
            }
            listed => listed.map(drop).map_err(Error::api("list migrations"))?,
        }
    }
    Ok(())
}

fn unknown(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

async fn check(migrations: &Api<Migration>) -> Result<(), Error> {
    let (delay, times) = LOOKS;
    let pauses = ConstantBuilder::default().with_delay(delay).with_max_times(times);
    let query = ListParams::default().limit(1);
    let listed = (|| migrations.list(&query)).retry(pauses).when(unknown).await;
    match listed {
        Err(error) if unknown(&error) => Err(Error::Manifest {
            object: Migration::crd_name().to_owned(),
            reason: "the cluster does not know it; install it by `migbench deploy`, or by `kubectl apply -f \
                     manifests/base/definition.yaml`"
                .to_owned(),
        }),
        listed => listed.map(drop).map_err(Error::api("list migrations")),
    }
}

/// Install the definition.
///
/// # Errors
/// The API server refuses it.
pub async fn install(client: &Client) -> Result<(), Error> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let definition = Patch::Apply(Migration::crd());
    let applied = definitions
        .patch(Migration::crd_name(), &parameters, &definition)
        .await;
    applied
        .map(drop)
        .map_err(Error::api("apply the definition of migrations"))
}
