//! What every replica knows of all migrations: their objects, as a watch tells them.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, watcher},
    },
};
use tokio::{sync::watch, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::kubernetes::apis;
use crate::contract::orchestrator::resource::Migration;

/// A watch that has said nothing for so long is begun anew: its connection may have died without a word. The API server
/// ends each one before that.
const LONGEST_SILENCE: Duration = Duration::from_secs(400);

/// The objects, kept up to date for as long as a copy of this is there.
#[derive(Clone)]
pub struct Mirror {
    /// One for each namespace that is followed by itself.
    stores: Vec<Store<Migration>>,
    changes: watch::Receiver<()>,
    _following: Arc<Vec<AbortOnDropHandle<()>>>,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror")
            .field("objects", &self.stores.iter().map(Store::len).sum::<usize>())
            .finish_non_exhaustive()
    }
}

impl Mirror {
    /// Follow the migrations of these namespaces; where none is named, of all.
    pub fn start(client: &Client, namespaces: &[String]) -> Self {
        let (told, changes) = watch::channel(());
        let follow = |migrations| {
            let (store, writer) = reflector::store();
            let following = tokio::spawn(follow(migrations, writer, told.clone()));
            (store, AbortOnDropHandle::new(following))
        };
        let (stores, following) = apis(client, namespaces).into_iter().map(follow).unzip();
        Self {
            stores,
            changes,
            _following: Arc::new(following),
        }
    }

    /// Wait until all objects are known.
    pub async fn ready(&self) {
        for store in &self.stores {
            // Fails only once nobody follows any more.
            let _ = store.wait_until_ready().await;
        }
    }

    /// All migrations, the oldest first.
    pub fn all(&self) -> Vec<Arc<Migration>> {
        let mut all: Vec<_> = self.stores.iter().flat_map(Store::state).collect();
        all.sort_by_key(|object| (object.creation_timestamp().map(|time| time.0), object.name_any()));
        all
    }

    /// The migrations of that name.
    pub fn named(&self, name: &str) -> Vec<Arc<Migration>> {
        let named = |store: &Store<Migration>| store.state_filter(|object| object.name_any() == name);
        self.stores.iter().flat_map(named).collect()
    }

    /// Wait until a migration is cancelled or its object deleted; how.
    pub async fn cancelled(&self, object: &Migration) -> String {
        self.until(object, |known| match known {
            Some(known) if known.spec.cancel => Some("it was cancelled"),
            Some(known) if known.metadata.deletion_timestamp.is_none() => None,
            Some(_) => Some("its object was deleted"),
            // Not known yet.
            None => None,
        })
        .await
        .to_owned()
    }

    /// Wait until a migration is known.
    pub async fn knows(&self, object: &Migration) {
        self.until(object, |known| known.map(drop)).await;
    }

    async fn until<T>(
        &self,
        object: &Migration,
        mut judge: impl FnMut(Option<&Migration>) -> Option<T>,
    ) -> T {
        let (key, uid) = (ObjectRef::from_obj(object), object.uid());
        let mut changes = self.changes.clone();
        loop {
            changes.borrow_and_update();
            let known = self.stores.iter().find_map(|store| store.get(&key));
            let known = known.filter(|known| known.uid() == uid);
            if let Some(judgement) = judge(known.as_deref()) {
                return judgement;
            }
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

async fn follow(migrations: Api<Migration>, mut writer: Writer<Migration>, told: watch::Sender<()>) {
    loop {
        let mut events = watcher(migrations.clone(), watcher::Config::default())
            .default_backoff()
            .boxed();
        while let Ok(Some(event)) = timeout(LONGEST_SILENCE, events.next()).await {
            match event {
                Ok(event) => {
                    writer.apply_watcher_event(&event);
                    told.send_replace(());
                }
                Err(error) => {
                    tracing::warn!(%error, "the watch for migrations is broken; taking it up again");
                }
            }
        }
    }
}
