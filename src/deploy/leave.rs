//! Removing what a run made.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
};

use super::{Error, GONE_WITHIN, clean_volume, namespace, place::Place, storage};
use crate::k8s::{self, gone};

impl Place {
    /// Remove everything and wait until it is gone; `tell` of each thing. The first failure is told, the rest is removed
    /// all the same.
    pub async fn leave(&self, client: &Client, mut tell: impl FnMut(String)) -> Result<(), Error> {
        if !self.opened {
            return Ok(());
        }
        let mut outcome = match self.end_pods(client).await {
            // As long as pods write to the volumes there is no use in cleaning them; the marker must stay until that is
            // done.
            Err(error) if !self.claims.is_empty() => return Err(error),
            Err(error) if !self.own => Err(error),
            // They go with the namespace.
            Ok(()) | Err(_) => Ok(()),
        };
        for claim in &self.claims {
            let cleaned = self.clean(client, claim).await;
            if let Ok(count @ 1..) = cleaned {
                tell(format!(
                    "removed {count} directories from the volume of claim {claim}"
                ));
            }
            outcome = outcome.and(cleaned.map(drop));
        }
        outcome = outcome.and(self.leave_namespace(client, &mut tell).await);
        for volume in &self.volumes {
            let api: Api<PersistentVolume> = Api::all(client.clone());
            let what = format!("persistent volume {volume}");
            let removed = gone::delete(&api, &what, volume, GONE_WITHIN).await;
            if removed.is_ok() {
                tell(format!("removed {what}"));
            }
            outcome = outcome.and(removed.map_err(Error::from));
        }
        outcome
    }

    /// The claim is told last: a cleanup that is interrupted is taken up again.
    async fn clean(&self, client: &Client, claim: &str) -> Result<u64, Error> {
        let count = clean_volume::clean(client, self, claim).await?;
        storage::note(client, self, claim, None).await?;
        Ok(count)
    }

    async fn leave_namespace(&self, client: &Client, tell: &mut impl FnMut(String)) -> Result<(), Error> {
        if self.own {
            namespace::delete(client, &self.namespace).await?;
            tell(format!("removed namespace {}", self.namespace));
            return Ok(());
        }
        let claims = self.remove::<PersistentVolumeClaim>(client, &self.ours()).await;
        let config_maps = self.remove::<ConfigMap>(client, &self.ours()).await;
        tell(format!(
            "removed the run's objects from namespace {}",
            self.namespace
        ));
        claims.and(config_maps)
    }

    /// End the run's pods; they write to the volumes.
    async fn end_pods(&self, client: &Client) -> Result<(), Error> {
        let api: Api<Pod> = self.api(client);
        match api
            .delete_collection(&DeleteParams::default().grace_period(1), &self.all_pods())
            .await
        {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(error) => return Err(k8s::Error::api("delete the run's pods")(error).into()),
        }
        self.remove::<Pod>(client, &self.all_pods()).await
    }

    async fn remove<K>(&self, client: &Client, which: &ListParams) -> Result<(), Error>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + 'static,
    {
        let api: Api<K> = self.api(client);
        let kind = K::kind(&());
        let found = api.list(which).await;
        for object in found
            .map_err(k8s::Error::api(format!("list the run's {kind}s")))?
            .items
        {
            let name = object.name_any();
            gone::delete(
                &api,
                &format!("{kind} {}/{name}", self.namespace),
                &name,
                GONE_WITHIN,
            )
            .await?;
        }
        Ok(())
    }
}
