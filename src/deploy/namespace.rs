//! A namespace for each run.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta},
    runtime::wait::{await_condition, conditions},
};

use super::{Error, MANAGED_BY, RUN_LABEL, apply};

/// How long a namespace may take to go away: the pods in it have their grace first.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// Name of a run's namespace. The tail of a UUIDv7 is its random part.
pub fn name(run: &str) -> String {
    format!("migbench-{}", run.rsplit('-').next().unwrap_or(run))
}

/// Make the namespace of a run.
pub async fn create(client: &Client, run: &str) -> Result<String, Error> {
    let name = name(run);
    let labels = [(MANAGED_BY.0, MANAGED_BY.1), (RUN_LABEL, run)];
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels.map(|(key, value)| (key.into(), value.into())).into()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    apply::object(&Api::all(client.clone()), &namespace).await?;
    Ok(name)
}

/// Delete the namespace with everything in it, and wait until it is gone.
pub async fn delete(client: &Client, name: &str) -> Result<(), Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let uid = match api.delete(name, &DeleteParams::default()).await {
        Ok(answer) => answer.left().and_then(|namespace| namespace.metadata.uid),
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(Error::api(format!("delete namespace {name}"))(error)),
    };
    let Some(uid) = uid else { return Ok(()) };
    let gone = await_condition(api, name, conditions::is_deleted(&uid));
    match tokio::time::timeout(GONE_WITHIN, gone).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::Watch {
            pod: name.to_owned(),
            reason: error.to_string(),
        }),
        Err(_) => Err(Error::Late {
            pod: name.to_owned(),
            wanted: "gone",
            seconds: GONE_WITHIN.as_secs(),
            state: "namespace stuck in Terminating; `kubectl get namespace -o yaml` names what holds it"
                .into(),
        }),
    }
}
