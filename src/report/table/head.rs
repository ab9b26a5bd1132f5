//! What was run, and where.

use crate::{report::Screen, stats::summary::Summary, wrap::wrap};

pub(super) fn run(summary: &Summary, screen: Screen) -> String {
    let (settings, environment) = (&summary.settings, &summary.environment);
    let mut lines = vec![format!(
        "Run {} of scenario {} (workload {}), {}",
        summary.run,
        settings.scenario,
        settings.workload,
        summary.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
    )];
    let (embedded, host, fit) = if environment.embedded {
        (
            ": processes of one host, no network between the nodes",
            "Host",
            "the host",
        )
    } else {
        ("", "Host of the harness", "the smaller of the two nodes")
    };
    lines.push(format!(
        "Cluster {} (Kubernetes {}){embedded}",
        environment.cluster, environment.kubernetes
    ));
    lines.push(format!(
        "Meter: {} ({})",
        environment.meter.kind, environment.meter.cgroup
    ));
    lines.push(format!(
        "{host}: {} × {}, Linux {}",
        environment.cpus,
        environment.cpu_model.as_deref().unwrap_or("CPU of unknown model"),
        environment.kernel,
    ));
    lines.extend(settings.placement.iter().map(|placement| {
        let without = if settings.standby == Some(false) {
            ", without a standby"
        } else {
            ""
        };
        format!("Pods were sent to their nodes by {placement}{without}")
    }));
    if settings.cpu_scale < 1.0 {
        lines.push(format!(
            "All CPU limits were scaled by {:.3} to fit {fit}: percentages stay comparable, absolute millicores do not",
            settings.cpu_scale
        ));
    }
    lines.extend(
        summary
            .selftest
            .iter()
            .map(|test| format!("Self-test before it: {test}")),
    );
    lines.extend(
        summary
            .fits
            .iter()
            .map(|fit| format!("Fitted to the nodes: {fit}")),
    );
    if summary.ended.is_none() {
        lines.push("The run has not ended: what follows is what there is so far".into());
    }
    lines
        .iter()
        .map(|line| wrap(line, screen.width, "  "))
        .collect::<Vec<_>>()
        .join("\n")
}
