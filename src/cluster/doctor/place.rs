//! Where the doctor's pods live, and how nothing of them stays.

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ObjectMeta, PostParams},
    runtime::wait::{await_condition, conditions},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{Known, ask::told};
use crate::deploy::{Error, MANAGED_BY, RUN_LABEL, namespace};

/// How long one object may take to go away.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// A namespace for the doctor's objects: one of its own, or one that was there before and stays.
///
/// What may exist is noted before it is asked for, so that also what an interrupted request made is removed.
#[derive(Debug)]
pub struct Place {
    pub(super) namespace: String,
    id: String,
    own: bool,
    made: Mutex<Vec<(String, String)>>,
}

impl Place {
    /// A place in the namespace `given`, else in one of its own.
    pub fn new(given: Option<&str>) -> Self {
        let id = Uuid::new_v4().simple().to_string()[..10].to_owned();
        Self {
            namespace: given.map_or_else(|| format!("migbench-doctor-{id}"), str::to_owned),
            id,
            own: given.is_none(),
            made: Mutex::default(),
        }
    }

    /// Whether it is a namespace of its own.
    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    /// A name that nobody else's object has.
    pub(super) fn unique_name(&self) -> String {
        format!("migbench-doctor-{}", self.id)
    }

    /// Name and labels of an object of the doctor's.
    pub(super) fn metadata(&self, name: impl Into<String>) -> ObjectMeta {
        let labels = [(MANAGED_BY.0, MANAGED_BY.1), (RUN_LABEL, &self.id)];
        ObjectMeta {
            name: Some(name.into()),
            labels: Some(labels.map(|(key, value)| (key.into(), value.into())).into()),
            ..ObjectMeta::default()
        }
    }

    /// Make the namespace, or see that it is there.
    pub(super) async fn open(&self, client: &Client) -> Known<()> {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        if !self.own {
            let found = namespaces.get(&self.namespace).await;
            return found.map(|_| ()).map_err(|error| told(&error));
        }
        let namespace = Namespace {
            metadata: self.metadata(&self.namespace),
            ..Namespace::default()
        };
        let made = self.make(&namespaces, &namespace).await;
        made.map(|_| ())
            .map_err(|why| format!("no namespace for pods ({why}); --namespace names one that is there"))
    }

    /// Make an object and see to its removal.
    pub(super) async fn make<K>(&self, api: &Api<K>, object: &K) -> Known<K>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let entry = (K::kind(&()).into_owned(), object.name_any());
        self.ledger(|made| made.push(entry.clone()));
        let created = api.create(&PostParams::default(), object).await;
        created.map_err(|error| {
            if matches!(&error, kube::Error::Api(status) if status.code < 500) {
                self.ledger(|made| made.retain(|other| *other != entry));
            }
            told(&error)
        })
    }

    fn ledger<T>(&self, work: impl FnOnce(&mut Vec<(String, String)>) -> T) -> T {
        work(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remove everything and wait until it is gone. The first failure is told, the rest is removed all the same.
    pub async fn leave(&self, client: &Client) -> Result<(), Error> {
        let made = self.ledger(std::mem::take);
        let namespaced = self.leave_namespace(client, &made).await;
        let volumes = Api::<PersistentVolume>::all(client.clone());
        let rest = remove_all(&volumes, &made).await;
        namespaced.and(rest)
    }

    async fn leave_namespace(&self, client: &Client, made: &[(String, String)]) -> Result<(), Error> {
        if self.own {
            if made.iter().any(|(kind, _)| kind == "Namespace") {
                namespace::delete(client, &self.namespace).await?;
            }
            return Ok(());
        }
        let pods = Api::<Pod>::namespaced(client.clone(), &self.namespace);
        let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &self.namespace);
        // A claim stays until the last pod that uses it has gone.
        let pods_gone = remove_all(&pods, made).await;
        pods_gone.and(remove_all(&claims, made).await)
    }
}

async fn remove_all<K>(api: &Api<K>, made: &[(String, String)]) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut outcome = Ok(());
    for (_, name) in made.iter().filter(|(kind, _)| *kind == K::kind(&())) {
        outcome = outcome.and(remove(api, name).await);
    }
    outcome
}

async fn remove<K>(api: &Api<K>, name: &str) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let object = format!("{} {name}", K::kind(&()));
    let uid = match api.delete(name, &DeleteParams::default()).await {
        Ok(answer) => answer.either(
            |object| object.uid(),
            |status| status.details.map(|details| details.uid),
        ),
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(Error::api(format!("delete {object}"))(error)),
    };
    let Some(uid) = uid else { return Ok(()) };
    let gone = await_condition(api.clone(), name, conditions::is_deleted(&uid));
    match tokio::time::timeout(GONE_WITHIN, gone).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Late {
            pod: object,
            wanted: "gone",
            seconds: GONE_WITHIN.as_secs(),
            state: "delete it by hand once what holds it is gone".into(),
        }),
    }
}
