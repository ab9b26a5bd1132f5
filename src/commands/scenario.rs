//! `migbench scenario`.

use std::{fmt::Write as _, io::Write as _};

use clap::Subcommand;

use crate::{
    error::Error,
    k8s::pod,
    run::plan,
    scenario::{Placement, Scenario, source},
};

/// List, show and validate scenarios.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the scenarios that come with migbench.
    List,
    /// Show what a scenario consists of.
    Show {
        /// Name of a scenario, or a directory.
        scenario: String,
        /// One of its workloads.
        #[arg(long)]
        workload: Option<String>,
        /// Override a key of scenario.yaml, as in phases.interval=2s.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// Check a scenario with each of its workloads; nothing is deployed.
    Validate {
        /// Name of a scenario, or a directory.
        scenario: String,
    },
}

/// Run the command.
#[expect(clippy::unused_async, reason = "commands have one signature")]
pub async fn execute(args: Args) -> Result<(), Error> {
    let text = match args.action {
        Action::List => list()?,
        Action::Show {
            scenario,
            workload,
            overrides,
        } => describe(&Scenario::load(&scenario, workload.as_deref(), &overrides)?),
        Action::Validate { scenario } => validate(&scenario)?,
    };
    // A reader that wants no more (head) is no error.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(())
}

fn list() -> Result<String, Error> {
    let mut text = String::new();
    for name in source::names() {
        let scenario = Scenario::load(name, None, &[])?;
        let _ = writeln!(text, "{name:<12} {}", scenario.description);
    }
    Ok(text)
}

fn validate(reference: &str) -> Result<String, Error> {
    let scenario = Scenario::load(reference, None, &[])?;
    for workload in &scenario.workloads {
        Scenario::load(reference, Some(workload), &[])?;
    }
    let workloads = scenario.workloads.join(", ");
    Ok(format!("{reference}: in order (workloads: {workloads})\n"))
}

fn describe(scenario: &Scenario) -> String {
    let phases = &scenario.phases;
    let duration = humantime::format_duration;
    let mut text = format!("{}: {}\n", scenario.name, scenario.description);
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    line(
        "workload",
        format!("{} (of {})", scenario.workload, scenario.workloads.join(", ")),
    );
    let by = match scenario.placement {
        Placement::NodeName => "nodeName",
        Placement::NodeSelector => "nodeSelector",
    };
    line(
        "nodes",
        format!("{} → {}, by {by}", scenario.source, scenario.target),
    );
    line(
        "phases",
        format!(
            "{} samples × {}, {} trimmed from each end; settle {}, horizon {}",
            phases.samples,
            duration(phases.interval),
            phases.trim,
            duration(phases.settle),
            duration(phases.horizon)
        ),
    );
    line(
        "target",
        format!("{:.1} % less", scenario.target_reduction * 100.0),
    );
    for claim in &scenario.claims {
        line("claim", claim.metadata.name.clone().unwrap_or_default());
    }
    for container in scenario.pod.spec.iter().flat_map(pod::specified) {
        line(
            "container",
            plan::line(container, scenario.roles.get(&container.name)),
        );
    }
    text
}
