//! The report as a table and as JSON.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use super::{Finding, Report, Status};
use crate::wrap::wrap;

/// Version of the JSON's form.
const SCHEMA: &str = "migbench.doctor/1";

/// JSON, one object.
pub fn json(report: &Report) -> String {
    let counts = [Status::Ok, Status::Warning, Status::Failed, Status::Skipped]
        .map(|status| (status.word().to_owned(), report.with(status).count().into()));
    let document = json!({
        "schema": SCHEMA,
        "cluster": report.cluster,
        "scenario": report.scenario,
        "counts": serde_json::Value::Object(counts.into_iter().collect()),
        "findings": report.findings,
    });
    format!("{document:#}\n")
}

/// A table of at most `width` columns, then what to do about each finding that is not as wanted.
pub fn table(report: &Report, width: u16) -> String {
    let mut grid = Table::new();
    grid.load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(["check", "on", "found", "wanted", "status"]);
    grid.style_mut().row_separator = comfy_table::LineStyle::none();
    for finding in &report.findings {
        grid.add_row(row(finding));
    }
    for column in grid.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Left);
    }
    let mut text = format!(
        "cluster {}, scenario {}\n{grid}\n",
        report.cluster, report.scenario
    );
    text.push_str(&to_do(report, width));
    text
}

fn row(finding: &Finding) -> [String; 5] {
    [
        finding.check.to_owned(),
        finding.on.clone().unwrap_or_default(),
        found(finding),
        finding.wanted.clone(),
        finding.status.word().to_owned(),
    ]
}

/// Why a check was skipped may be a runtime's long tale, told for many checks: its beginning will do, JSON has it all.
fn found(finding: &Finding) -> String {
    const ENOUGH: usize = 90;
    let text = &finding.found;
    if finding.status != Status::Skipped || text.chars().count() <= ENOUGH {
        return text.clone();
    }
    text.chars().take(ENOUGH).chain(['…']).collect()
}

/// Failures first; what several findings ask for is said once.
fn to_do(report: &Report, width: u16) -> String {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in report.with(Status::Failed).chain(report.with(Status::Warning)) {
        let asks_the_same =
            |other: &Finding| (other.status, &other.remedy) == (finding.status, &finding.remedy);
        match groups.iter_mut().find(|group| asks_the_same(group[0])) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    let mut text = String::new();
    for group in groups {
        let _ = writeln!(text, "{}", wrap(&sentence(&group), width, "    "));
    }
    text + &summary(report)
}

fn sentence(group: &[&Finding]) -> String {
    let checks = each_once(group.iter().map(|finding| finding.check));
    let subjects = each_once(group.iter().filter_map(|finding| finding.on.as_deref()));
    let on = if subjects.is_empty() {
        String::new()
    } else {
        format!(" ({subjects})")
    };
    let remedy = group[0].remedy.as_deref().unwrap_or_default();
    format!("{}: {checks}{on}: {remedy}", group[0].status.word())
}

fn each_once<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut seen = Vec::new();
    for word in words {
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    seen.join(", ")
}

fn summary(report: &Report) -> String {
    let count = |status| report.with(status).count();
    let warnings = match count(Status::Warning) {
        1 => "1 warning".to_owned(),
        many => format!("{many} warnings"),
    };
    format!(
        "{} ok, {warnings}, {} failed, {} skipped\n",
        count(Status::Ok),
        count(Status::Failed),
        count(Status::Skipped)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Question;

    fn report() -> Report {
        let small = |node| {
            Question::new("processor", "16 cores, better 32 cores")
                .on(node)
                .warning("1 cores", "take a larger machine")
        };
        Report {
            cluster: "rig".into(),
            scenario: "tensorflow".into(),
            findings: vec![
                Question::new("Kubernetes", "1.28 or newer").ok("v1.35.4"),
                small("gpu-server-03"),
                small("ai-storage-worker-01"),
                Question::new("rights", "create pods/exec").failed("refused", "grant create pods/exec"),
                Question::new("docker", "24.0 or newer").skipped("not installed"),
            ],
        }
    }

    #[test]
    fn the_table_says_each_remedy_once_and_failures_first() {
        insta::assert_snapshot!(table(&report(), 80));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [40, 80] {
            let text = table(&report(), width);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(usize::from(width)), "{text}");
        }
    }

    #[test]
    fn the_json_carries_every_finding_and_the_counts() {
        let document: serde_json::Value = serde_json::from_str(&json(&report())).unwrap();
        assert_eq!(document["counts"]["warning"], 2);
        assert_eq!(document["findings"].as_array().unwrap().len(), 5);
        assert_eq!(document["findings"][3]["status"], "failed");
        assert_eq!(document["findings"][0]["remedy"], serde_json::Value::Null);
    }
}
