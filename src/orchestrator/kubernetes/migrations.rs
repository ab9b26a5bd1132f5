//! The objects in which migrations are kept.

use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::Value;

use super::Kubernetes;
use crate::{contract::orchestrator::resource::Migration, orchestrator::failure::Failure};

impl Kubernetes {
    fn migrations(&self) -> Api<Migration> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A migration's object, `None` if there is none of that name.
    pub async fn migration(&self, name: &str) -> Result<Option<Migration>, Failure> {
        let migrations = self.migrations();
        self.retrying(&format!("get migration {name}"), || migrations.get_opt(name))
            .await
    }

    /// The migrations of that name, wherever that is.
    pub async fn migrations_named(
        &self,
        everywhere: &[Api<Migration>],
        name: &str,
    ) -> Result<Vec<Migration>, Failure> {
        let query = ListParams::default().fields(&format!("metadata.name={name}"));
        let mut all = Vec::new();
        for migrations in everywhere {
            let listed = self
                .retrying("list migrations", || migrations.list(&query))
                .await?;
            all.extend(listed.items);
        }
        Ok(all)
    }

    /// Create a migration's object. `None` if the name is taken.
    pub async fn create_migration(&self, migration: &Migration) -> Result<Option<Migration>, Failure> {
        let (migrations, parameters) = (self.migrations(), PostParams::default());
        let created = self.attempt(|| migrations.create(&parameters, migration)).await;
        match created {
            Ok(created) => Ok(Some(created)),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(None),
            Err(error) => Err(Failure::api("create the migration's object", &error)),
        }
    }

    /// Write the status of this version of the object. `None` if it is not the newest, or gone.
    pub async fn replace_status(&self, migration: &Migration) -> Result<Option<Migration>, Failure> {
        let (migrations, name, parameters) = (self.migrations(), migration.name_any(), PostParams::default());
        let written = self
            .attempt(|| migrations.replace_status(&name, &parameters, migration))
            .await;
        match written {
            Ok(written) => Ok(Some(written)),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
            Err(error) => Err(Failure::api("write the migration's status", &error)),
        }
    }

    /// Change a migration's object by a merge patch. `None` if it has changed meanwhile, or is gone.
    pub async fn patch_migration(&self, name: &str, patch: &Value) -> Result<Option<Migration>, Failure> {
        let (migrations, parameters) = (self.migrations(), PatchParams::default());
        let patch = Patch::Merge(patch);
        let patched = self.attempt(|| migrations.patch(name, &parameters, &patch)).await;
        match patched {
            Ok(patched) => Ok(Some(patched)),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
            Err(error) => Err(Failure::api("change the migration's object", &error)),
        }
    }

    /// Delete a migration's object; it is gone once its migration has been undone.
    pub async fn delete_migration(&self, migration: &Migration) -> Result<(), Failure> {
        let (migrations, name) = (self.migrations(), migration.name_any());
        let parameters = Self::only(&migration.uid().unwrap_or_default(), None);
        match self.attempt(|| migrations.delete(&name, &parameters)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(Failure::api("delete the migration's object", &error)),
        }
    }
}
