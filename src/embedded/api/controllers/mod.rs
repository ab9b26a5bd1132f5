//! What a control plane does on its own: empty namespaces that are deleted, bind claims to volumes, put pods on nodes, delete
//! what belonged to objects that are gone, let old events go.
//!
//! Each controller is told what was written since it last looked, and brings the state closer to what it should be. What it
//! writes is news again, until nothing is left to do. So a write costs the same however many objects there are.

mod binder;
mod claims;
mod definitions;
mod directories;
mod events;
mod namespaces;
mod owners;
mod placement;

use std::{path::PathBuf, sync::Arc};

use serde_json::Value;
use tokio::task::JoinSet;

use self::{binder::Binder, events::Expiry, owners::Owners};
use super::{
    status::ApiError,
    store::{Change, State, Store},
    verbs::text,
};

/// Start the controllers; they end with the set.
pub(crate) fn start(store: &Arc<Store>, volumes: PathBuf) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(directories::run(store.clone(), volumes.clone()));
    tasks.spawn(run(store.clone(), volumes));
    tasks
}

async fn run(store: Arc<Store>, volumes: PathBuf) {
    let mut changed = store.subscribe();
    changed.mark_changed();
    let mut controllers = Controllers {
        seen: None,
        binder: Binder::default(),
        expiry: Expiry::default(),
        owners: Owners::default(),
        volumes,
    };
    loop {
        tokio::select! {
            outcome = changed.changed() => if outcome.is_err() { return },
            () = controllers.expiry.due() => {}
        }
        if let Err(error) = store.write(|state| controllers.reconcile(state)) {
            tracing::warn!(
                message = error.message,
                "a controller will try again after the next change"
            );
        }
    }
}

struct Controllers {
    /// The version up to which everything was seen to; none at the start and after a failure.
    seen: Option<u64>,
    binder: Binder,
    expiry: Expiry,
    owners: Owners,
    volumes: PathBuf,
}

impl Controllers {
    /// One pass of every controller.
    fn reconcile(&mut self, state: &mut State) -> Result<(), ApiError> {
        let news = News::since(self.seen.take(), state);
        let revision = state.revision();
        self.expiry.reconcile(state, &news);
        // Before the pods that want them.
        claims::reconcile(state, &news, &self.volumes)?;
        self.owners.reconcile(state, &news)?;
        definitions::reconcile(state, &news)?;
        self.binder.reconcile(state, &news);
        namespaces::reconcile(state, &news)?;
        self.seen = Some(revision);
        Ok(())
    }
}

/// What has happened since a controller last looked.
struct News {
    changes: Vec<Arc<Change>>,
    /// Whether there may be more than is known: at the start, after a failure, and where the log was faster.
    more: bool,
}

impl News {
    fn since(seen: Option<u64>, state: &State) -> Self {
        match seen.and_then(|seen| state.since(seen).ok()) {
            Some(changes) => Self {
                changes: changes.cloned().collect(),
                more: false,
            },
            None => Self {
                changes: Vec::new(),
                more: true,
            },
        }
    }

    /// Whether something of this kind has happened, as far as is known.
    fn any(&self, kind: impl Fn(&Change) -> bool) -> bool {
        self.more || self.changes.iter().any(|change| kind(change))
    }
}

/// Whether a pod's containers have all ended for good.
fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}
