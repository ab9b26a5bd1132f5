//! `migbench destroy`: the opposite of `deploy`.

use super::cluster_args::ClusterArgs;
use crate::{
    error::Error,
    install::{self, IMAGE, NAMESPACE, Nfs, Parameters, manifests},
};

/// Remove what `deploy` installed, and wait until it is gone. What does not bear its label is left.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Namespace of orchestrator and agents.
    #[arg(long = "install-namespace", value_name = "NAME", default_value = NAMESPACE)]
    pub namespace: String,
    /// Print the objects that would be removed, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let objects = manifests::objects(&everything(args.namespace))?;
    if args.dry_run {
        return super::print(manifests::yaml(&objects)?.as_bytes());
    }
    let cluster = args.cluster.real()?.connect().await?;
    install::remove::all(&cluster.client, &objects, |line| super::say(&line)).await?;
    Ok(())
}

/// The names of all that may have been installed; which server and image it had makes no difference.
fn everything(namespace: String) -> Parameters {
    Parameters {
        image: IMAGE.into(),
        namespace,
        nfs: Some(Nfs {
            server: String::new(),
            path: String::new(),
        }),
    }
}
