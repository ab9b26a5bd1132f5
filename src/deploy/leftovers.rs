//! What earlier runs left on a cluster, found by label: a run that was killed could not clean up after itself. What does
//! not bear both of our labels is not ours.

use std::{collections::BTreeMap, fmt::Debug};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::place::Place;
use crate::k8s::{
    Error,
    labels::{EXPIRES, MANAGED_BY, RUN_LABEL},
};

/// What one run left.
#[derive(Debug, Clone, PartialEq)]
pub struct Leftover {
    /// Where it is.
    pub place: Place,
    /// When its oldest object was made.
    pub since: Option<Timestamp>,
    /// Its objects in words.
    pub objects: Vec<String>,
}

/// Finds what runs left, by run.
struct Search {
    client: Client,
    given: Option<String>,
    image: String,
    found: BTreeMap<String, Leftover>,
}

/// Find what runs left in all namespaces, or in one for who may not look at all. `image` holds this program, where a run
/// did not say which.
pub async fn find(client: &Client, namespace: Option<&str>, image: &str) -> Result<Vec<Leftover>, Error> {
    let mut search = Search {
        client: client.clone(),
        given: namespace.map(str::to_owned),
        image: image.to_owned(),
        found: BTreeMap::new(),
    };
    // Namespaces come first: whether one is a run's own decides what is done about the objects in it.
    for namespace in search.everywhere::<Namespace>().await? {
        let place = &mut search.note(&namespace).place;
        place.own = true;
        place.namespace = namespace.name_any();
    }
    for volume in search.everywhere::<PersistentVolume>().await? {
        let name = volume.name_any();
        search.note(&volume).place.volumes.push(name);
    }
    for marker in search.within::<ConfigMap>().await? {
        let leftover = search.note(&marker);
        leftover.place.read_marker(&marker);
        let claims = leftover.place.claims.iter();
        let directories = claims.map(|claim| format!("the run's directories on the volume of claim {claim}"));
        leftover.objects.extend(directories);
    }
    for pod in search.within::<Pod>().await? {
        search.note(&pod);
    }
    for claim in search.within::<PersistentVolumeClaim>().await? {
        search.note(&claim);
    }
    Ok(search.found.into_values().collect())
}

impl Search {
    /// Objects without a namespace. Who may not list them has made none.
    async fn everywhere<K>(&self) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        match self.list(Api::all(self.client.clone())).await {
            Err(Error::Api { source, .. }) if self.given.is_some() && is_forbidden(&source) => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    async fn within<K>(&self) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.list(match &self.given {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        })
        .await
    }

    async fn list<K>(&self, api: Api<K>) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let ours = ListParams::default().labels(&format!("{}={},{RUN_LABEL}", MANAGED_BY.0, MANAGED_BY.1));
        let found = api.list(&ours).await;
        Ok(found
            .map_err(Error::api(format!("list {}", K::plural(&()))))?
            .items)
    }

    fn note<K: Resource<DynamicType = ()>>(&mut self, object: &K) -> &mut Leftover {
        let run = object.labels().get(RUN_LABEL).cloned().unwrap_or_default();
        let leftover = self.found.entry(run.clone()).or_insert_with(|| Leftover {
            place: Place {
                own: false,
                opened: true,
                ..Place::new(&run, None, &self.image)
            },
            since: None,
            objects: Vec::new(),
        });
        if let Some(namespace) = object.namespace() {
            leftover.place.namespace = namespace;
        }
        let expires = object
            .annotations()
            .get(EXPIRES)
            .and_then(|expires| expires.parse().ok());
        leftover.place.expires = leftover.place.expires.or(expires);
        let made = object.creation_timestamp().map(|time| time.0);
        leftover.since = [leftover.since, made].into_iter().flatten().min();
        leftover.objects.push(describe(object));
        leftover
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}

fn describe<K: Resource<DynamicType = ()>>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{} {namespace}/{}", K::kind(&()), object.name_any()),
        None => format!("{} {}", K::kind(&()), object.name_any()),
    }
}
