//! `migbench orchestrator`.

use std::{collections::BTreeSet, future, net::SocketAddr, path::PathBuf, time::Duration};

use super::listen_args::ListenArgs;
use crate::{
    contract::orchestrator::Listening,
    error::Error,
    interrupt::Interrupt,
    k8s::access::{Access, is_in_pod},
    orchestrator::{
        definition,
        ongoing::{Limits, Settings},
        server,
        service::Service,
    },
};
use anyhow::{Context, anyhow};

/// Time for migrations under way when the service is told to stop.
const DRAIN: Duration = Duration::from_secs(60);

/// Run the AI Storage Orchestrator: the service that migrates pods.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen.
    #[command(flatten)]
    listen: ListenArgs,
    /// Kubeconfig of the cluster. Without it and --context: the service account of the pod this runs in.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Image that holds this program, for the init container that verifies checkpoints.
    #[arg(long, value_name = "IMAGE", default_value = "migbench")]
    verify_image: String,
    /// Migrations at work at a time.
    #[arg(long, value_name = "N", default_value_t = Limits::default().at_work)]
    at_work: usize,
    /// Migrations at work at a time that involve one node.
    #[arg(long, value_name = "N", default_value_t = Limits::default().per_node)]
    per_node: usize,
    /// Migrations that may wait for their turn; more are refused.
    #[arg(long, value_name = "N", default_value_t = Limits::default().queue)]
    queue: usize,
    /// Work only while holding the lease `ai-storage-orchestrator` in this namespace: for several replicas.
    #[arg(long, value_name = "NAMESPACE")]
    leader_elect: Option<String>,
    /// Work in this namespace alone. May be repeated; without, in all of them.
    #[arg(long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// End when stdin is closed, install the definition of migrations, and roll back at the end what is under way: for
    /// programs that start the service for themselves.
    #[arg(long, hide = true)]
    private: bool,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    super::log_to_stderr();
    let interrupt = Interrupt::listen().context("signals")?;
    let access = access(args.kubeconfig.clone(), args.context.clone())?;
    let settings = settings(&args);
    let (entrances, addresses) = args.listen.open().await?;
    let cluster = access.connect_without_patience().await?;
    if args.private {
        definition::install(&cluster.client).await?;
    }
    definition::ensure(&cluster.client, &args.namespaces).await?;
    let service = Service::start(cluster.client, settings);
    announce(&addresses)?;
    let drained = server::run(entrances, service, told_to_stop(interrupt, args.private), DRAIN)
        .await
        .context("the server ended")?;
    if drained {
        Ok(())
    } else {
        Err(Error::Internal(anyhow!(
            "stopped with migrations under way: look at their pods before starting again"
        )))
    }
}

fn settings(args: &Args) -> Settings {
    // One that was named twice is not watched twice.
    let namespaces: BTreeSet<_> = args.namespaces.iter().cloned().collect();
    Settings {
        verify_image: args.verify_image.clone(),
        limits: Limits {
            at_work: args.at_work,
            per_node: args.per_node,
            queue: args.queue,
            ..Limits::default()
        },
        lease: args.leader_elect.clone(),
        namespaces: namespaces.into_iter().collect(),
        private: args.private,
    }
}

/// The cluster that was named, and no other: never somebody's current context unasked.
fn access(kubeconfig: Option<PathBuf>, context: Option<String>) -> Result<Access, Error> {
    if kubeconfig.is_none() && context.is_none() && !is_in_pod() {
        return Err(Error::Usage(
            "name the cluster: --kubeconfig FILE, --context NAME, or run in a pod with a service account"
                .into(),
        ));
    }
    Ok(Access::new(kubeconfig, context))
}

fn announce(addresses: &[SocketAddr]) -> Result<(), Error> {
    for &listening in addresses {
        let line = serde_json::to_string(&Listening { listening }).context("its address as JSON")?;
        super::print(format!("{line}\n").as_bytes())?;
    }
    Ok(())
}

/// The first signal, or the end of stdin where the service is private. A second signal ends the process at once.
async fn told_to_stop(mut interrupt: Interrupt, private: bool) {
    let stdin_closed = async {
        if !private {
            return future::pending::<Result<(), Error>>().await;
        }
        // Without a sender the thread that reads stdin has died, and the parent cannot be heard any more.
        let _ = super::stdin_closed().await;
        Ok(())
    };
    // Both say the same.
    let _ = interrupt.unless(stdin_closed).await;
    interrupt.abort_on_next();
}
