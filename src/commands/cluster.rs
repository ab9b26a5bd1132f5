//! `migbench cluster`.

use anyhow::Context;
use clap::Subcommand;

use super::{python_args::PythonArgs, report::screen};
use crate::{
    embedded::{NODES, scope, up::Up},
    error::Error,
    interrupt::Interrupt,
    run,
    wrap::{hang, wrap},
};

/// Run the embedded cluster.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Bring a cluster up and keep it in the foreground; Ctrl-C removes everything again.
    Up {
        /// For a parent process: say where the cluster is in one line of JSON, and end when stdin closes.
        #[arg(long, hide = true)]
        private: bool,
        #[command(flatten)]
        python: PythonArgs,
    },
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let Action::Up { private, python } = args.action;
    super::log_to_stderr();
    let mut interrupt = Interrupt::listen().context("signals")?;
    scope::enter_if_useful().context("scope")?;
    let mut up = Up::start(python.into())
        .await
        .map_err(|error| not_started(&error))?;
    let outcome = match announce(&up, private) {
        Ok(()) => interrupt.unless(until_over(&mut up, private)).await,
        failed => failed,
    };
    if matches!(outcome, Err(Error::Interrupted)) {
        // Only of two signals: one that comes with the end of stdin must not cut the removal short.
        interrupt.abort_on_next();
    }
    up.stop().await?;
    match outcome {
        // The way to end it, not a failure.
        Err(Error::Interrupted) => Ok(()),
        other => other,
    }
}

/// Until stdin closes, where a parent holds it, or a part of the cluster fails.
async fn until_over(up: &mut Up, private: bool) -> Result<(), Error> {
    let closed = async {
        // Without a sender the thread that reads stdin has died, and the parent cannot be heard any more.
        let _ = super::stdin_closed().await;
    };
    tokio::select! {
        () = closed, if private => Ok(()),
        error = up.failed() => Err(Error::Internal(error)),
    }
}

fn not_started(error: &anyhow::Error) -> Error {
    Error::Run(run::Error::Embedded(format!("{error:#}")))
}

fn announce(up: &Up, private: bool) -> Result<(), Error> {
    let message = if private {
        let line = serde_json::to_string(up.handshake()).map_err(|error| Error::Internal(error.into()))?;
        line + "\n"
    } else {
        readable(up)
    };
    super::print(message.as_bytes())
}

fn readable(up: &Up) -> String {
    let handshake = up.handshake();
    let kubeconfig = handshake.kubeconfig.display();
    let nodes = NODES.join(", ");
    let width = screen().width;
    let head = wrap(
        &format!("The embedded cluster is up: processes of this host, on the nodes {nodes}."),
        width,
        "",
    );
    let isolation = hang(&format!("  isolation   {}", handshake.isolation), width);
    format!(
        "{head}\n{isolation}\n\
         \x20 kubeconfig  {kubeconfig}\n\
         \x20 try         kubectl --kubeconfig {kubeconfig} get nodes\n\
         Ctrl-C stops it and removes everything that it made.\n",
    )
}
