//! `migbench agent`: reads the cgroups of the node it runs on for a harness elsewhere.

use std::{net::SocketAddr, path::PathBuf};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    error::Error,
    sample::{
        agent::{protocol, server::Agent},
        exec::inside,
        mounts::Mounts,
    },
};

/// Read the cgroups of this node for a harness elsewhere.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the node's /sys/fs/cgroup is mounted.
    #[arg(long, value_name = "DIR", default_value = "/host/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    /// Address to listen on. The loopback of a pod is reached by port-forward alone.
    #[arg(long, default_value_t = SocketAddr::from(([127, 0, 0, 1], protocol::PORT)))]
    listen: SocketAddr,
    /// Read the one cgroup below --cgroup-root, a block for each line on stdin: in a container, for a harness that may not
    /// see the node.
    #[arg(long)]
    inside: bool,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    if args.inside {
        let served = inside::serve(
            &args.cgroup_root,
            std::io::stdin().lock(),
            std::io::stdout().lock(),
        );
        return served.map_err(|error| Error::Internal(error.into()));
    }
    let mounts = Mounts::at(&args.cgroup_root).map_err(|error| Error::Preflight {
        missing: format!("{}: {error}", args.cgroup_root.display()),
        remedy: "in a pod, a hostPath volume of /sys/fs/cgroup; elsewhere --cgroup-root /sys/fs/cgroup"
            .into(),
    })?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        let reason = format!("cannot listen on {}: {error}", args.listen);
        Error::Usage(reason)
    })?;
    let internal = |error: std::io::Error| Error::Internal(error.into());
    let address = listener.local_addr().map_err(internal)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(internal)?;
    tracing::info!(%address, cgroup = mounts.mode(), "agent listening");
    let shutdown = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    Agent::new(mounts).serve(listener, shutdown).await;
    Ok(())
}
