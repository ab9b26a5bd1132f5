//! `migbench verify-checkpoint`: what the init container of a migrated pod runs.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use serde::Serialize;

use crate::{
    contract::workload::Manifest,
    error::Error,
    orchestrator::{
        checkpoint::integrity::{self, Expectation},
        migrated_pod::verification,
    },
};

/// Check a checkpoint from this mount: one line of JSON on stdout, exit 0 when all is in order.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the checkpoint volume is mounted.
    #[arg(long)]
    root: PathBuf,
    /// The manifests of the checkpoints, as a JSON array; without, those of the environment.
    #[arg(long, value_parser = parse_manifests)]
    manifests: Option<Manifests>,
    /// A path that must exist as well; may be repeated.
    #[arg(long, value_name = "PATH")]
    require: Vec<PathBuf>,
    /// How long to look again for what is missing.
    #[arg(long, default_value = "35s", value_parser = humantime::parse_duration)]
    patience: Duration,
}

#[derive(Debug, Clone)]
struct Manifests(Vec<Manifest>);

fn parse_manifests(json: &str) -> Result<Manifests, serde_json::Error> {
    serde_json::from_str(json).map(Manifests)
}

fn of_environment() -> Result<Manifests, serde_json::Error> {
    let json = verification::manifests(|name| std::env::var(name).ok());
    parse_manifests(if json.is_empty() { "[]" } else { &json })
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let manifests = match args.manifests {
        Some(manifests) => manifests,
        None => of_environment().map_err(|error| Error::Usage(format!("the manifests are none: {error}")))?,
    };
    let expectation = Expectation {
        root: args.root,
        manifests: manifests.0,
        required: args.require,
    };
    match integrity::verify(expectation, args.patience).await {
        Ok(verified) => print(&verified),
        Err(finding) => {
            print(&finding)?;
            Err(Error::Preflight {
                missing: format!("{}: {}", finding.reason, finding.message),
                remedy: "nothing here: the orchestrator has what made missing outputs run again, or rolls the migration back"
                    .into(),
            })
        }
    }
}

fn print(line: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_string(line).map_err(|error| Error::Internal(error.into()))?;
    writeln!(io::stdout().lock(), "{json}").map_err(|error| Error::Internal(error.into()))
}
