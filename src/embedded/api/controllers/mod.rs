//! What a control plane does on its own: empty namespaces that are deleted, bind claims to volumes, bind pods to nodes.
//!
//! Each controller is a function that looks at the state and brings it closer to what it should be; it is run again after
//! every change, as often as it finds something to do.

mod binder;
mod claims;
mod directories;
mod events;
mod namespaces;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::JoinSet;

use super::{
    status::ApiError,
    store::{State, Store},
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
    // Writes made in a pass wake the loop again, until a pass writes nothing.
    while changed.changed().await.is_ok() {
        if let Err(error) = store.write(|state| reconcile(state, &volumes)) {
            tracing::warn!(
                message = error.message,
                "a controller will try again after the next change"
            );
        }
    }
}

/// One pass of every controller.
fn reconcile(state: &mut State, volumes: &Path) -> Result<(), ApiError> {
    binder::reconcile(state);
    claims::reconcile(state, volumes)?;
    namespaces::reconcile(state)
}
