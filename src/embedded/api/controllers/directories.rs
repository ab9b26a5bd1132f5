//! Removes the directories of provisioned volumes when the volumes are gone.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::api::core::v1::PersistentVolume;

use crate::embedded::api::{
    resource,
    store::{Change, Store},
    verbs::text,
};

/// Follow the log of changes for ever.
pub(super) async fn run(store: Arc<Store>, volumes: PathBuf) {
    let mut changed = store.subscribe();
    let mut cursor = 0;
    while changed.changed().await.is_ok() {
        let (gone, revision) = store.read(|state| {
            // Should the log have been faster, its oldest entry is the best start.
            let changes = state.since(cursor).or_else(|expired| state.since(expired.0));
            let gone: Vec<_> = changes
                .into_iter()
                .flatten()
                .filter_map(|change| directory(change, &volumes))
                .collect();
            (gone, state.revision())
        });
        cursor = revision;
        for directory in gone {
            remove(&directory).await;
        }
    }
}

/// The directory that goes with a deleted volume: only ours, directly below the volumes.
fn directory(change: &Change, volumes: &Path) -> Option<PathBuf> {
    let path = PathBuf::from(text(&change.after, "/spec/hostPath/path"));
    let reclaimed = text(&change.after, "/spec/persistentVolumeReclaimPolicy") == "Delete";
    let is_volume = change.key.resource == resource::of::<PersistentVolume>().qualified();
    (change.deleted && is_volume && reclaimed && path == volumes.join(&change.key.name)).then_some(path)
}

async fn remove(directory: &Path) {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, directory = %directory.display(), "cannot remove the volume");
        }
        _ => {}
    }
}
