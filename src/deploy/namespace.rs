//! A namespace for each run.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};

use super::GONE_WITHIN;
use crate::k8s::{Error, gone};

/// Name of a run's namespace. The tail of a UUIDv7 is its random part.
pub fn name(run: &str) -> String {
    format!("migbench-{}", run.rsplit('-').next().unwrap_or(run))
}

/// Whether a namespace of this name can have been made for the run, by itself or by the doctor.
pub fn is_own(namespace: &str, run: &str) -> bool {
    let name = name(run);
    let is_run = uuid::Uuid::try_parse(run).is_ok();
    is_run && (namespace == name || namespace == name.replacen("migbench", "migbench-doctor", 1))
}

/// Delete the namespace with everything in it, and wait until it is gone.
pub async fn delete(client: &Client, name: &str) -> Result<(), Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    match gone::delete(&api, &format!("namespace {name}"), name, GONE_WITHIN).await {
        Err(Error::Stuck { object, seconds, .. }) => Err(Error::Stuck {
            object,
            seconds,
            holders: holders(&api, name).await,
        }),
        outcome => outcome,
    }
}

/// What the namespace controller says about a namespace that does not go away.
async fn holders(api: &Api<Namespace>, name: &str) -> String {
    let Ok(Some(namespace)) = api.get_opt(name).await else {
        return "what cannot be told".into();
    };
    let conditions = namespace
        .status
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    let messages: Vec<_> = conditions
        .into_iter()
        .filter(|condition| condition.status == "True")
        .filter_map(|condition| condition.message)
        .collect();
    messages.join("; ")
}
