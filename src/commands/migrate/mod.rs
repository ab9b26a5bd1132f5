//! `migbench migrate`: what an operator types to move a pod.

mod follow;
mod plan;
mod question;
mod result;
mod screen;
mod subject;

use std::{io::IsTerminal, time::Duration};

use clap::ValueEnum;
use reqwest::Url;
use serde_json::{Value, json};

use self::{follow::Following, screen::Screen, subject::Subject};
use super::{cluster_args::ClusterArgs, orchestrator_args::OrchestratorArgs};
use crate::{
    contract::orchestrator::{Plan, Status},
    error::Error,
    interrupt::Interrupt,
    k8s::access::Connection,
    migrate::{self, endpoint::Endpoint},
    run::orchestrator::Orchestrator as Reached,
};

/// What it says where it was stopped before it had begun.
const UNTOUCHED: &str = "nothing was begun";

/// Move a pod to another node: show the plan, ask, follow the migration to its end. Ctrl-C cancels it and waits until it is
/// undone; a second Ctrl-C leaves that to the orchestrator.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is asked for.
    #[command(flatten)]
    order: OrderArgs,
    /// Show the plan, and begin nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Begin it, print its id, and do not wait for its end.
    #[arg(long, conflicts_with = "dry_run")]
    detach: bool,
    /// `json`: the migration as the orchestrator answers it (with --dry-run or where it is refused, the plan), for scripts.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Where.
    #[command(flatten)]
    cluster: ClusterArgs,
    /// By which orchestrator.
    #[command(flatten)]
    orchestrator: OrchestratorArgs,
}

/// Which pod, and how it shall be moved.
#[derive(Debug, clap::Args)]
struct OrderArgs {
    /// The pod to move.
    #[arg(value_name = "POD")]
    pod: String,
    /// The node to move it to.
    #[arg(long, value_name = "NODE")]
    to: String,
    /// Namespace of the pod; without, that of the context.
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
    /// Do not have the target stand by while the source still works: a longer pause, and both take up room for a shorter time.
    #[arg(long)]
    no_standby: bool,
    /// Until when the target must have taken over; else it is rolled back.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = seconds)]
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    check_answerable(&args)?;
    let mut interrupt = Interrupt::listen().map_err(|error| Error::Internal(error.into()))?;
    let ready = interrupt.unless(prepare(&args)).await.map_err(untouched)?;
    let plan: Plan = serde_json::from_value(ready.plan.clone()).map_err(|error| {
        let reason = format!("its answer is no plan: {error}");
        ready.failed(reason)
    })?;
    show(&args, &plan, &ready.plan)?;
    if !plan.refusals.is_empty() {
        return Err(plan::refused(&plan));
    }
    if args.dry_run {
        return Ok(());
    }
    if !args.yes {
        let answered = interrupt.unless(question::ask("Migrate? [y/N] ")).await;
        if answered.is_err() {
            screen::tell("\n");
        }
        if !answered.map_err(untouched)? {
            return Err(Error::Stopped(UNTOUCHED.into()));
        }
    }
    carry_out(&args, ready, interrupt).await
}

/// The plan is the result where nothing else is made of it, and else a part of the talk.
fn show(args: &Args, plan: &Plan, answer: &Value) -> Result<(), Error> {
    match args.output {
        Output::Json if args.dry_run || !plan.refusals.is_empty() => {
            super::print(format!("{answer:#}\n").as_bytes())
        }
        Output::Json => Ok(()),
        Output::Text => {
            let text = plan::text(plan, screen::width());
            if args.dry_run {
                super::print(text.as_bytes())
            } else {
                screen::tell(&text);
                Ok(())
            }
        }
    }
}

/// Whether anybody can be asked; said before anything is looked at.
fn check_answerable(args: &Args) -> Result<(), Error> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if args.yes || args.dry_run || (terminal && args.output == Output::Text) {
        return Ok(());
    }
    let why = if terminal {
        "--output json asks nothing"
    } else {
        "there is no terminal to ask on"
    };
    Err(Error::Usage(format!(
        "{why}: add --yes to migrate, or --dry-run to see the plan"
    )))
}

fn untouched(error: Error) -> Error {
    match error {
        Error::Interrupted => Error::Stopped(format!("interrupted; {UNTOUCHED}")),
        error => error,
    }
}

/// All that is known before anybody is asked.
struct Ready {
    subject: Subject,
    plan: Value,
    orchestrator: migrate::orchestrator::Orchestrator,
    /// Kept: a port-forward ends with it.
    reached: Reached,
    request: Value,
}

impl Ready {
    fn failed(&self, reason: String) -> Error {
        let url = self.reached.url();
        Error::Orchestrator(migrate::Error::Orchestrator { url, reason })
    }
}

async fn prepare(args: &Args) -> Result<Ready, Error> {
    let connection = args.cluster.clone().real()?.connect().await?;
    let subject = Subject::find(&connection.client, &args.order).await?;
    let reached = reach(args, &connection).await?;
    let endpoint = Endpoint {
        url: reached.url(),
        credentials: args.orchestrator.credentials(),
    };
    let orchestrator = migrate::orchestrator::Orchestrator::new(endpoint).map_err(Error::Orchestrator)?;
    orchestrator.check_ready().await.map_err(Error::Orchestrator)?;
    let request = request(&args.order, &subject);
    let mut dry = request.clone();
    dry["dry_run"] = true.into();
    let plan = orchestrator.plan(&dry).await.map_err(Error::Orchestrator)?;
    Ok(Ready {
        subject,
        plan,
        orchestrator,
        reached,
        request,
    })
}

async fn reach(args: &Args, connection: &Connection) -> Result<Reached, Error> {
    match &args.orchestrator.orchestrator_url {
        Some(url) => Ok(Reached::Foreign(url.clone())),
        None => Ok(Reached::installed(&connection.client, &connection.name).await?),
    }
}

fn request(order: &OrderArgs, subject: &Subject) -> Value {
    let mut request = json!({
        "pod_name": order.pod,
        "pod_namespace": subject.namespace,
        "source_node": subject.source,
        "target_node": order.to,
        "preserve_pv": true,
        "timeout": order.timeout.as_secs(),
    });
    if order.no_standby {
        request["standby"] = false.into();
    }
    request
}

/// From the request on a signal is no end any more: what was begun has to be undone first.
async fn carry_out(args: &Args, ready: Ready, interrupt: Interrupt) -> Result<(), Error> {
    let address = ready.orchestrator.start(&ready.request).await.map_err(|error| {
        let look = kubectl(&args.cluster, &ready.subject.namespace, "get mig");
        ready.failed(format!("{}; whether it has begun: `{look}`", reason(error)))
    })?;
    let id = id(&address);
    let follow = kubectl(
        &args.cluster,
        &ready.subject.namespace,
        &format!("get mig {id} --watch"),
    );
    if args.detach {
        return detached(args, &ready, &address, &follow).await;
    }
    let following = Following {
        orchestrator: &ready.orchestrator,
        address,
        how_to_look: follow,
        screen: Screen::new(screen::width()),
        cancelled: false,
    };
    let seen = following.until_it_ends(interrupt).await?;
    match args.output {
        Output::Json => super::print(format!("{:#}\n", seen.object).as_bytes())?,
        Output::Text if seen.migration.status == Status::Completed => {
            super::print(result::text(&seen, &args.order.to, screen::width()).as_bytes())?;
        }
        Output::Text => {}
    }
    seen.verdict(&args.order.pod)
}

/// Say how it can be followed and cancelled from elsewhere.
async fn detached(args: &Args, ready: &Ready, address: &Url, follow: &str) -> Result<(), Error> {
    if args.output == Output::Json {
        let begun = ready
            .orchestrator
            .look(address)
            .await
            .map_err(Error::Orchestrator)?;
        return super::print(format!("{begun:#}\n").as_bytes());
    }
    let id = id(address);
    let cancel = kubectl(
        &args.cluster,
        &ready.subject.namespace,
        &format!("delete mig {id}"),
    );
    super::print(format!("{id}\n  follow it: {follow}\n  cancel it: {cancel}\n").as_bytes())
}

/// The orchestrator takes seconds, and none at all for a time of its own.
fn seconds(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_secs(1) {
        return Err("it must be a second at least".into());
    }
    Ok(duration)
}

fn id(address: &Url) -> String {
    let mut segments = address.path_segments().into_iter().flatten();
    segments.next_back().unwrap_or_default().to_owned()
}

fn reason(error: migrate::Error) -> String {
    match error {
        migrate::Error::Orchestrator { reason, .. } => reason,
        error => error.to_string(),
    }
}

/// A command line for `kubectl` with the same cluster.
fn kubectl(cluster: &ClusterArgs, namespace: &str, what: &str) -> String {
    let file = cluster.kubeconfig.iter();
    let file = file.map(|file| format!(" --kubeconfig {}", file.display()));
    let context = cluster.context.iter().map(|name| format!(" --context {name}"));
    let place: String = file.chain(context).collect();
    format!("kubectl{place} -n {namespace} {what}")
}
