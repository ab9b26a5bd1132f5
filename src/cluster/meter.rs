//! Which meter a run on a real cluster gets.

use std::sync::Arc;

use kube::Client;

use super::{agents, exec::PodExec};
use crate::{
    deploy,
    error::Error,
    install::{self, manifests},
    sample::{Meter, exec::meter::ExecMeter},
};

/// Where it is wanted.
#[derive(Clone)]
pub struct Wanted<'a> {
    /// The API.
    pub client: &'a Client,
    /// Namespace of the run.
    pub namespace: &'a str,
    /// Id of the run.
    pub run: &'a str,
    /// Image that holds this program.
    pub image: &'a str,
    /// The nodes whose containers are measured.
    pub nodes: &'a [String],
}

impl std::fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted")
            .field("namespace", &self.namespace)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

/// The installed agents; where there are none, agents of the run's own; where pods may not mount paths of the host, readers
/// inside the containers.
pub async fn open(wanted: &Wanted<'_>) -> Result<Arc<dyn Meter>, Error> {
    let Wanted { client, nodes, .. } = *wanted;
    // Who may not look into that namespace has agents of the run's own.
    let installed = agents::are_ready(client, install::NAMESPACE, nodes).await;
    if installed.unwrap_or(false) {
        return Ok(Arc::new(
            agents::connect(client, install::NAMESPACE, nodes).await?,
        ));
    }
    let spec = manifests::agent_spec(wanted.image)?;
    match agents::start(client, wanted.namespace, wanted.run, &spec, nodes).await {
        Ok(()) => Ok(Arc::new(agents::connect(client, wanted.namespace, nodes).await?)),
        Err(error) if is_refused(&error) => {
            tracing::warn!(%error, "no node agents here, reading from inside the containers");
            let enter = PodExec::new(client, wanted.namespace);
            Ok(Arc::new(ExecMeter::new(Arc::new(enter))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Admission refuses with 403 what the Pod Security level or a policy forbids.
fn is_refused(error: &deploy::Error) -> bool {
    match error {
        deploy::Error::Api { source, .. } => {
            matches!(&**source, kube::Error::Api(status) if status.code == 403)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn only_a_refusal_leads_to_the_fallback() {
        let error = |code| {
            let status = Status::failure("no", "reason").with_code(code).boxed();
            deploy::Error::api("apply Pod")(kube::Error::Api(status))
        };
        assert!(is_refused(&error(403)));
        assert!(!is_refused(&error(409)));
        let late = deploy::Error::Late {
            pod: "a".into(),
            wanted: "running",
            seconds: 1,
            state: "Pending".into(),
        };
        assert!(!is_refused(&late));
    }
}
