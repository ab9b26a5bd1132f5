//! Where the objects of a run are: a namespace of its own or one that was given, and what it made outside of it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::{
    Api, Client,
    api::{ListParams, ObjectMeta},
};

use super::{Error, namespace};
use crate::k8s::{
    self, apply,
    labels::{self, DIRECTORIES, EXPIRES, MANAGED_BY, RUN_LABEL},
};

/// The place of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Id of the run.
    pub run: String,
    /// The namespace.
    pub namespace: String,
    /// Whether the namespace was made for the run and goes with it.
    pub own: bool,
    /// Claims whose volumes outlive the run, with directories of its legs on them.
    pub claims: Vec<String>,
    /// Persistent volumes that were made for the run.
    pub volumes: Vec<String>,
    /// Image that holds this program.
    pub image: String,
    /// When the run must have come to its end.
    pub expires: Option<Timestamp>,
    /// Whether anything of the run may be there.
    pub opened: bool,
}

impl Place {
    /// A place that is still to be made: in the namespace that was given, else in one of its own.
    pub fn new(run: &str, given: Option<&str>, image: &str) -> Self {
        Self {
            run: run.to_owned(),
            namespace: given.map_or_else(|| namespace::name(run), str::to_owned),
            own: given.is_none(),
            claims: Vec::new(),
            volumes: Vec::new(),
            image: image.to_owned(),
            expires: None,
            opened: false,
        }
    }

    /// Make the namespace, or see that it is there.
    pub async fn open(&mut self, client: &Client) -> Result<(), Error> {
        self.opened = true;
        let opened = self.enter(client).await;
        // Only an answer that was lost leaves it open whether the namespace is there.
        self.opened = match &opened {
            Err(Error::Kubernetes(error)) => !error.is_refusal(),
            outcome => outcome.is_ok(),
        };
        opened
    }

    async fn enter(&self, client: &Client) -> Result<(), Error> {
        let api: Api<Namespace> = Api::all(client.clone());
        if self.own {
            let namespace = Namespace {
                metadata: self.metadata(&self.namespace),
                ..Namespace::default()
            };
            apply::object(&api, &namespace).await?;
            return Ok(());
        }
        match api.get_opt(&self.namespace).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Error::NoNamespace(self.namespace.clone())),
            // Whoever may not look at namespaces may still be at home in this one.
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(()),
            Err(error) => Err(k8s::Error::api(format!("get namespace {}", self.namespace))(error).into()),
        }
    }

    /// Write down until when the run may be there, for `migbench cleanup --expired`. Nothing else is taken from it: who may
    /// make config maps may not have pods run.
    pub async fn mark(&self, client: &Client) -> Result<(), Error> {
        let marker = ConfigMap {
            metadata: self.metadata(&self.name()),
            ..ConfigMap::default()
        };
        apply::object(&self.api(client), &marker).await?;
        Ok(())
    }

    /// The annotation of a claim on whose volume the run has directories.
    pub(super) fn directories(&self) -> (String, String) {
        (format!("{DIRECTORIES}{}", self.name()), self.run.clone())
    }

    /// Name of what the run makes outside of its namespace, and of its directories on volumes.
    pub fn name(&self) -> String {
        namespace::name(&self.run)
    }

    /// Name and labels of an object of the run.
    pub fn metadata(&self, name: &str) -> ObjectMeta {
        let labels = [(MANAGED_BY.0, MANAGED_BY.1), (RUN_LABEL, &self.run)];
        let expires = self
            .expires
            .map(|expires| [(EXPIRES.to_owned(), expires.to_string())].into());
        ObjectMeta {
            name: Some(name.to_owned()),
            annotations: expires,
            labels: Some(labels.map(|(key, value)| (key.into(), value.into())).into()),
            ..ObjectMeta::default()
        }
    }

    /// A pod of the run.
    pub fn pod(&self, name: &str, spec: serde_json::Value) -> Result<Pod, k8s::Error> {
        let spec = serde_json::from_value(spec).map_err(|error| k8s::Error::Manifest {
            object: format!("pod {name}"),
            reason: error.to_string(),
        })?;
        Ok(Pod {
            metadata: self.metadata(name),
            spec: Some(spec),
            status: None,
        })
    }

    /// Selects what bears the run's labels.
    pub(super) fn ours(&self) -> ListParams {
        ListParams::default().labels(&format!(
            "{}={},{RUN_LABEL}={}",
            MANAGED_BY.0, MANAGED_BY.1, self.run
        ))
    }

    /// In a namespace of the run's own that is all of them.
    pub(super) fn all_pods(&self) -> ListParams {
        if self.own {
            ListParams::default()
        } else {
            self.ours()
        }
    }

    /// Selects the pods under test. In a namespace of the run's own these are all but the agents: an orchestrator may not
    /// take over the labels. In a given one, others' pods must not be touched.
    pub fn pods(&self) -> String {
        if self.own {
            labels::no_agents()
        } else {
            format!("{RUN_LABEL}={},{}", self.run, labels::no_agents())
        }
    }

    /// The API of a kind in the run's namespace.
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(client.clone(), &self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "0199d0f0-0000-7000-8000-0123456789ab";

    #[test]
    fn a_place_is_a_namespace_of_its_own_or_a_given_one() {
        let own = Place::new(RUN, None, "i");
        assert_eq!((own.namespace.as_str(), own.own), ("migbench-0123456789ab", true));
        let given = Place::new(RUN, Some("team"), "i");
        assert_eq!((given.namespace.as_str(), given.own), ("team", false));
        assert_eq!(given.name(), own.name());
        assert!(given.pods().contains(RUN) && !own.pods().contains(RUN));
    }
}
