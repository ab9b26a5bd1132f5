//! What a run on a real cluster may be told about it, as clap sees it.

use crate::{
    deploy::supply::StorageOptions,
    install::{IMAGE, Nfs},
    run::settings::Site,
};

/// What may be particular to a real cluster.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "On a real cluster")]
pub struct SiteArgs {
    /// Run in this namespace, which stays; without, one is made for the run and removed after it.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Image that holds this program, as the nodes pull it.
    #[arg(long, value_name = "IMAGE", default_value = IMAGE)]
    pub image: String,
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

impl From<SiteArgs> for Site {
    fn from(args: SiteArgs) -> Self {
        Self {
            namespace: args.namespace,
            image: args.image,
            storage: StorageOptions {
                nfs: args.nfs.export(),
                class: args.storage_class,
            },
        }
    }
}
