//! What a run on a real cluster may be told about it, as clap sees it.

use crate::{
    deploy::supply::StorageOptions,
    error::Error,
    install::{self, IMAGE, Nfs},
    run::{cluster::Choice, settings::Site},
};

/// What may be particular to a real cluster.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "On a real cluster")]
pub struct SiteArgs {
    /// Run in this namespace, which stays; without, one is made for the run and removed after it.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Image that holds this program; without, the one that `migbench deploy` installed.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Where checkpoints are kept.
    #[command(flatten)]
    pub nfs: NfsArgs,
    /// Storage class of the checkpoint claim; it must provide `ReadWriteMany`.
    #[arg(long, value_name = "NAME", conflicts_with = "nfs_server")]
    pub storage_class: Option<String>,
}

/// A checkpoint volume over NFS.
#[derive(Debug, Clone, clap::Args)]
pub struct NfsArgs {
    /// Server of the checkpoint volume, for a cluster that does not provide `ReadWriteMany` by itself.
    #[arg(long, value_name = "HOST", requires = "nfs_path")]
    pub nfs_server: Option<String>,
    /// The directory that it exports.
    #[arg(long, value_name = "DIR", requires = "nfs_server")]
    pub nfs_path: Option<String>,
}

impl NfsArgs {
    /// The export, where one was named.
    pub fn export(self) -> Option<Nfs> {
        let pair = self.nfs_server.zip(self.nfs_path);
        pair.map(|(server, path)| Nfs { server, path })
    }
}

impl SiteArgs {
    /// What was told, and of the cluster what was not.
    pub async fn resolve(self, choice: &Choice) -> Result<Site, Error> {
        let image = match (self.image, choice) {
            (Some(image), _) => image,
            (None, Choice::Embedded) => IMAGE.to_owned(),
            (None, Choice::Kube(access)) => {
                install::image::installed(&access.connect().await?.client).await?
            }
        };
        Ok(Site {
            namespace: self.namespace,
            image,
            storage: StorageOptions {
                nfs: self.nfs.export(),
                class: self.storage_class,
            },
        })
    }
}
