//! `migbench destroy`: the opposite of `deploy`.

use super::cluster_args::ClusterArgs;
use crate::{
    error::Error,
    install::{self, IMAGE, Nfs, Parameters, manifests},
};

/// Remove what `deploy` installed, and wait until it is gone. What does not bear its label is left.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Print the objects that would be removed, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let objects = manifests::objects(&everything())?;
    if args.dry_run {
        return super::print(manifests::yaml(&objects)?.as_bytes());
    }
    let cluster = args.cluster.real()?.connect().await?;
    install::remove::all(&cluster.client, &objects, |line| super::say(&line)).await?;
    Ok(())
}

/// The names of all that may have been installed; which server and image it had makes no difference.
fn everything() -> Parameters {
    Parameters {
        image: IMAGE.into(),
        nfs: Some(Nfs {
            server: String::new(),
            path: String::new(),
        }),
    }
}
