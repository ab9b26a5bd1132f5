//! `migbench deploy`: what stays on a cluster between runs.

use super::{cluster_args::ClusterArgs, site_args::NfsArgs};
use crate::{
    error::Error,
    image::delivery,
    install::{self, IMAGE, Parameters, manifests, rollout},
};

/// Install orchestrator, node agents and their rights on a real cluster.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What.
    #[command(flatten)]
    pub installation: Installation,
    /// Print the objects as YAML, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What an installation may differ in.
#[derive(Debug, clap::Args)]
pub struct Installation {
    /// Image that holds this program, as the nodes pull it or, after `migbench image save`, have it. `run`, `doctor` and
    /// `cleanup` take the one that is installed.
    #[arg(long, value_name = "IMAGE", default_value = IMAGE)]
    pub image: String,
    /// A checkpoint volume to install.
    #[command(flatten)]
    pub nfs: NfsArgs,
}

impl From<Installation> for Parameters {
    fn from(args: Installation) -> Self {
        Self {
            image: args.image,
            nfs: args.nfs.export(),
        }
    }
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let objects = manifests::objects(&args.installation.into())?;
    if args.dry_run {
        return super::print(manifests::yaml(&objects)?.as_bytes());
    }
    let cluster = args.cluster.real()?.connect().await?;
    super::say(&format!(
        "deploying on {} (Kubernetes {}, {})",
        cluster.name, cluster.kubernetes, cluster.endpoint
    ));
    install::apply::all(&cluster.client, &objects, |line| super::say(&line)).await?;
    let running = rollout::wait(&cluster.client, &objects, |line| super::say(&line)).await;
    running.map_err(|error| told(error, &cluster.name))
}

/// What does not run, with what to do where it is the image.
fn told(error: rollout::Error, cluster: &str) -> Error {
    let missing = error.to_string();
    match error {
        rollout::Error::Image { image, .. } => Error::Preflight {
            missing,
            remedy: delivery::remedy(cluster.trim_start_matches("context "), &image),
        },
        rollout::Error::Kubernetes(error) => error.into(),
    }
}
