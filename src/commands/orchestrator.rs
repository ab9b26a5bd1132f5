//! `migbench orchestrator`.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use kube::Client;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    cluster::access::{self, Access},
    error::Error,
    orchestrator::{migration::Limits, server, service::Service},
};

/// Time for migrations under way when the service is told to stop.
const DRAIN: Duration = Duration::from_secs(60);

/// Run the AI Storage Orchestrator: the service that migrates pods.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Kubeconfig of the cluster. Without it and --context: the service account of the pod this runs in.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Image that holds this program, for the init container that verifies checkpoints.
    #[arg(long, value_name = "IMAGE", default_value = "migbench")]
    verify_image: String,
    /// End when stdin is closed: for programs that start the service for themselves.
    #[arg(long, hide = true)]
    private: bool,
}

/// The one line of JSON on stdout that says that requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// The address.
    pub listening: SocketAddr,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    super::log_to_stderr();
    let client = connect(args.kubeconfig, args.context).await?;
    let service = Service::new(client, &args.verify_image, Limits::default());
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| Error::Usage(format!("--listen {}: {error}; choose another port", args.listen)))?;
    announce(&listener).map_err(internal)?;
    let serving = server::run(listener, service, told_to_stop(args.private), DRAIN);
    let drained = tokio::select! {
        drained = serving => drained.map_err(internal)?,
        () = signals(2) => false,
    };
    if drained {
        Ok(())
    } else {
        Err(Error::Internal(anyhow::anyhow!(
            "stopped with migrations under way: look at their pods before starting again"
        )))
    }
}

/// Connect to the cluster that is named, or to the one that this runs in as a pod.
async fn connect(kubeconfig: Option<PathBuf>, context: Option<String>) -> Result<Client, Error> {
    if kubeconfig.is_none() && context.is_none() && !access::is_in_pod() {
        return Err(Error::Usage(
            "name the cluster: --kubeconfig FILE, --context NAME, or run in a pod with a service account"
                .into(),
        ));
    }
    let access = Access { kubeconfig, context };
    Ok(access.connect().await?.client)
}

fn announce(listener: &TcpListener) -> io::Result<()> {
    let handshake = Handshake {
        listening: listener.local_addr()?,
    };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&handshake)?)?;
    stdout.flush()
}

/// The first signal, or the end of stdin where the service is private.
async fn told_to_stop(private: bool) {
    let stdin_closed = async {
        if private {
            // Whatever is written there: only its end means something.
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = signals(1) => {}
        () = stdin_closed => {}
    }
}

/// SIGTERM or SIGINT for the n-th time: the first one drains, the second one aborts.
async fn signals(n: u32) {
    let streams = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = streams else {
        return std::future::pending().await;
    };
    for _ in 0..n {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

fn internal(error: impl Into<anyhow::Error>) -> Error {
    Error::Internal(error.into())
}
