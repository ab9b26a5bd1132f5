//! What earlier runs left on a cluster, found by label: a run that was killed could not clean up after itself. What does
//! not bear both of our labels is not ours.
//!
//! Anybody can put our labels on what he may make, so each namespace is looked at by itself: what is found in one says
//! nothing about another, and none goes as a whole but one that was made for the run, which only its name and its own
//! labels can tell.

use std::{collections::BTreeMap, fmt::Debug};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::{namespace, place::Place};
use crate::k8s::{
    Error,
    labels::{DIRECTORIES, EXPIRES, MANAGED_BY, RUN_LABEL},
};

/// What one run left in one namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Leftover {
    /// Where it is.
    pub place: Place,
    /// When its oldest object was made.
    pub since: Option<Timestamp>,
    /// Its objects in words.
    pub objects: Vec<String>,
}

/// Finds what runs left, by run and namespace.
struct Search {
    client: Client,
    given: Option<String>,
    image: String,
    found: BTreeMap<(String, String), Leftover>,
}

/// Find what runs left in all namespaces, or in one for who may not look at all. `image` holds this program.
pub async fn find(client: &Client, namespace: Option<&str>, image: &str) -> Result<Vec<Leftover>, Error> {
    let mut search = Search {
        client: client.clone(),
        given: namespace.map(str::to_owned),
        image: image.to_owned(),
        found: BTreeMap::new(),
    };
    for namespace in search.everywhere::<Namespace>().await? {
        let name = namespace.name_any();
        if namespace::is_own(&name, run_of(&namespace)) {
            search.note(&namespace, &name).place.own = true;
        }
    }
    for marker in search.within::<ConfigMap>(&ours()).await? {
        search.note_within(&marker);
    }
    for pod in search.within::<Pod>(&ours()).await? {
        search.note_within(&pod);
    }
    // Those that were there before the run bear none of its labels.
    for claim in search
        .within::<PersistentVolumeClaim>(&ListParams::default())
        .await?
    {
        if is_ours(&claim) {
            search.note_within(&claim);
        }
        search.note_directories(&claim);
    }
    for volume in search.everywhere::<PersistentVolume>().await? {
        search.note_volume(&volume);
    }
    Ok(search.found.into_values().collect())
}

/// Selects what bears both labels, of whichever run.
fn ours() -> ListParams {
    ListParams::default().labels(&format!("{}={},{RUN_LABEL}", MANAGED_BY.0, MANAGED_BY.1))
}

fn is_ours<K: Resource>(object: &K) -> bool {
    let labels = object.labels();
    labels.get(MANAGED_BY.0).map(String::as_str) == Some(MANAGED_BY.1) && labels.contains_key(RUN_LABEL)
}

impl Search {
    /// Objects without a namespace. Who may not list them has made none.
    async fn everywhere<K>(&self) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        match list(Api::all(self.client.clone()), &ours()).await {
            Err(Error::Api { source, .. }) if self.given.is_some() && is_forbidden(&source) => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    async fn within<K>(&self, which: &ListParams) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api = match &self.given {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        list(api, which).await
    }

    fn note_within<K: Resource<DynamicType = ()>>(&mut self, object: &K) {
        self.note(object, &object.namespace().unwrap_or_default());
    }

    fn note<K: Resource<DynamicType = ()>>(&mut self, object: &K, namespace: &str) -> &mut Leftover {
        let leftover = self.leftover(run_of(object), namespace);
        let expires = object
            .annotations()
            .get(EXPIRES)
            .and_then(|expires| expires.parse().ok());
        // The latest, so that nobody can have a run expire that is under way.
        leftover.place.expires = leftover.place.expires.max(expires);
        let made = object.creation_timestamp().map(|time| time.0);
        leftover.since = [leftover.since, made].into_iter().flatten().min();
        leftover.objects.push(describe(object));
        leftover
    }

    /// The runs that have directories on the claim's volume, as they wrote on it.
    fn note_directories(&mut self, claim: &PersistentVolumeClaim) {
        let (name, namespace) = (claim.name_any(), claim.namespace().unwrap_or_default());
        for (key, run) in claim.annotations() {
            let prefix = namespace::name(run);
            if uuid::Uuid::try_parse(run).is_ok() && key.strip_prefix(DIRECTORIES) == Some(prefix.as_str()) {
                let leftover = self.leftover(run, &namespace);
                let what = format!("the run's directories on the volume of claim {name}");
                leftover.objects.push(what);
                leftover.place.claims.push(name.clone());
            }
        }
    }

    /// A volume belongs where its claim is; where it tells none, where the run has something else.
    fn note_volume(&mut self, volume: &PersistentVolume) {
        let run = run_of(volume);
        let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        let claimed = claim.and_then(|claim| claim.namespace.clone());
        let of_run = || self.found.keys().find(|(found, _)| found == run);
        let namespace = match claimed {
            Some(claimed) if self.found.contains_key(&(run.to_owned(), claimed.clone())) => claimed,
            _ => of_run().map_or_else(|| namespace::name(run), |(_, namespace)| namespace.clone()),
        };
        let name = volume.name_any();
        self.note(volume, &namespace).place.volumes.push(name);
    }

    fn leftover(&mut self, run: &str, namespace: &str) -> &mut Leftover {
        let key = (run.to_owned(), namespace.to_owned());
        self.found.entry(key).or_insert_with(|| Leftover {
            place: Place {
                opened: true,
                ..Place::new(run, Some(namespace), &self.image)
            },
            since: None,
            objects: Vec::new(),
        })
    }
}

async fn list<K>(api: Api<K>, which: &ListParams) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let found = api.list(which).await;
    Ok(found
        .map_err(Error::api(format!("list {}", K::plural(&()))))?
        .items)
}

fn run_of<K: Resource<DynamicType = ()>>(object: &K) -> &str {
    object.labels().get(RUN_LABEL).map_or("", String::as_str)
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
