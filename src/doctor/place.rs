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
use crate::{
    deploy::namespace,
    k8s::{
        Error,
        labels::{MANAGED_BY, RUN_LABEL},
    },
};

/// How long one object may take to go away.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// A namespace for the doctor's objects: one of its own, or one that was there before and stays.
///
/// What may exist is noted before it is asked for, so that also what an interrupted request made is removed.
#[derive(Debug)]
pub struct Place {
    pub(super) namespace: String,
    /// Value of the run label that everything made here carries.
    pub id: String,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{
        Json, Router,
        extract::{Path, State},
        http::StatusCode,
        routing::{delete, post},
    };
    use serde_json::{Value, json};

    use super::*;

    type Deleted = Arc<Mutex<Vec<String>>>;

    /// An API server that refuses the pod `refused`, loses the answer for the pod `lost`, and notes what is deleted.
    fn api(deleted: &Deleted) -> Client {
        let create = |Path(kind): Path<String>, Json(object): Json<Value>| async move {
            match object["metadata"]["name"].as_str() {
                Some("refused") => (StatusCode::FORBIDDEN, Json(status(403))),
                Some("lost") => (StatusCode::GATEWAY_TIMEOUT, Json(status(504))),
                _ => (StatusCode::CREATED, Json(made(&kind, &object))),
            }
        };
        let note = |State(deleted): State<Deleted>, Path((kind, name)): Path<(String, String)>| async move {
            deleted.lock().unwrap().push(format!("{kind}/{name}"));
            Json(json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"}))
        };
        let router = Router::new()
            .route("/api/v1/namespaces/team-a/{kind}", post(create))
            .route("/api/v1/namespaces/team-a/{kind}/{name}", delete(note))
            .with_state(deleted.clone());
        Client::new(router, "default")
    }

    fn made(kind: &str, object: &Value) -> Value {
        let kind = if kind == "pods" {
            "Pod"
        } else {
            "PersistentVolumeClaim"
        };
        let mut object = object.clone();
        object["kind"] = kind.into();
        object["apiVersion"] = "v1".into();
        object
    }

    fn status(code: u16) -> Value {
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": "no", "code": code,
            "reason": "Forbidden"})
    }

    fn pod(place: &Place, name: &str) -> Pod {
        Pod {
            metadata: place.metadata(name),
            ..Pod::default()
        }
    }

    #[tokio::test]
    async fn all_that_may_exist_is_removed_and_nothing_else() {
        let deleted = Deleted::default();
        let client = api(&deleted);
        let place = Place::new(Some("team-a"));
        let pods = Api::<Pod>::namespaced(client.clone(), "team-a");
        let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), "team-a");
        let claim = PersistentVolumeClaim {
            metadata: place.metadata("claim"),
            ..PersistentVolumeClaim::default()
        };
        assert!(place.make(&claims, &claim).await.is_ok());
        assert!(place.make(&pods, &pod(&place, "made")).await.is_ok());
        assert_eq!(
            place.make(&pods, &pod(&place, "refused")).await.unwrap_err(),
            "no"
        );
        assert!(place.make(&pods, &pod(&place, "lost")).await.is_err());
        place.leave(&client).await.unwrap();
        let order = ["pods/made", "pods/lost", "persistentvolumeclaims/claim"];
        assert_eq!(
            *deleted.lock().unwrap(),
            order,
            "a claim goes after the pods that use it"
        );
    }

    #[test]
    fn a_place_of_its_own_has_a_name_of_its_own() {
        let (one, other) = (Place::new(None), Place::new(None));
        assert!(one.namespace.starts_with("migbench-doctor-"));
        assert_ne!(one.namespace, other.namespace);
        assert_eq!(Place::new(Some("team-a")).namespace, "team-a");
    }
}
