//! `migbench image`: this program as a container image.

use std::path::PathBuf;

use clap::Subcommand;

use crate::{
    error::Error,
    image::{self, delivery::DELIVERIES, name::Name},
    install::IMAGE,
};

/// Pack this program as a container image.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Save it as an archive that kind, k3d, minikube, containerd, docker and registries take; no engine is needed.
    Save {
        /// Where to; an older file is replaced.
        file: PathBuf,
        /// What the nodes are to know it by.
        #[arg(long, value_name = "IMAGE", default_value = IMAGE, value_parser = str::parse::<Name>)]
        name: Name,
    },
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let Command::Save { file, name } = args.command;
    let target = file.clone();
    let packed = name.clone();
    let saved = tokio::task::spawn_blocking(move || image::save(&target, &packed)).await;
    let saved = saved.map_err(|error| Error::Internal(error.into()))??;
    let file = file.display().to_string();
    let libraries = match saved.libraries {
        0 => "a static program".to_owned(),
        count => format!("with {count} libraries of this host"),
    };
    super::say(&format!(
        "{file}: {name}, {}, {:.1} MB, {libraries}, {}",
        saved.platform,
        saved.bytes as f64 / 1e6,
        saved.digest
    ));
    if !saved.certificates {
        super::say("without certificates of public authorities: this host has none");
    }
    super::say("Bring it to the cluster:");
    for delivery in DELIVERIES {
        let command = delivery.command(&file, &name.to_string(), "NAME");
        super::say(&format!("  {:<26}{command}", delivery.cluster));
    }
    let option = if name.to_string() == IMAGE {
        String::new()
    } else {
        format!(" --image {name}")
    };
    super::say(&format!("then\n  migbench deploy --context NAME{option}"));
    Ok(())
}

impl From<image::Error> for Error {
    fn from(error: image::Error) -> Self {
        let missing = error.to_string();
        let remedy = match error {
            image::Error::Write { .. } => {
                "name a file in a directory that can be written, with room for the program"
            }
            image::Error::Read { .. } | image::Error::Libraries { .. } => {
                "mend that, or build the image by `docker build .`, which makes a static program"
            }
        };
        Self::Preflight {
            missing,
            remedy: remedy.to_owned(),
        }
    }
}
