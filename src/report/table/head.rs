//! What was run, and where.

use textwrap::{Options, WordSplitter};

use crate::{report::Screen, stats::summary::Summary};

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
    if settings.cpu_scale < 1.0 {
        lines.push(format!(
            "All CPU limits were scaled by {:.3} to fit {fit}: percentages stay comparable, absolute millicores do not",
            settings.cpu_scale
        ));
    }
    if summary.ended.is_none() {
        lines.push("The run has not ended: what follows is what there is so far".into());
    }
    lines
        .iter()
        .map(|line| wrap(line, screen.width, "  "))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Break a line at blanks; the lines that follow are indented.
pub(super) fn wrap(text: &str, width: u16, indent: &str) -> String {
    let options = Options::new(width.into())
        .subsequent_indent(indent)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks_and_long_words_stay_whole() {
        assert_eq!(wrap("one two three", 9, "  "), "one two\n  three");
        assert_eq!(wrap("short", 80, "  "), "short");
        assert_eq!(wrap("a-very-long-word b", 5, " "), "a-very-long-word\n b");
    }
}
