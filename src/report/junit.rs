//! `JUnit` XML for the pages of CI systems: a test suite a comparison, a test case a metric. The metric that is judged
//! fails when its verdict is `NOT MET`, and is an error when the rounds do not decide; the others are skipped where they
//! are not known, for they have no verdict.

use std::io::{self, Write};

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::{Error, Format, doubts::groups, number::percent, row::Row};
use crate::{
    record::run::RunRecord,
    stats::{
        comparison::{Comparison, Metric},
        summary::Summary,
        verdict::{Judgement, Verdict},
    },
};

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Junit;

type Xml<'a> = Writer<&'a mut dyn Write>;

impl Format for Junit {
    fn write(&self, _: &RunRecord, summary: &Summary, to: &mut dyn Write) -> Result<(), Error> {
        let mut xml = Writer::new_with_indent(to, b' ', 2);
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let suites = xml
            .create_element("testsuites")
            .with_attribute(("name", "migbench"));
        suites.write_inner_content(|xml| {
            summary
                .comparisons
                .iter()
                .try_for_each(|comparison| suite(xml, summary, comparison))
        })?;
        xml.get_mut().write_all(b"\n")?;
        Ok(())
    }
}

/// How a test case ended.
struct Ending<'a> {
    /// The element that says it.
    element: &'static str,
    /// In one word.
    kind: String,
    message: &'a str,
}

fn suite(xml: &mut Xml, summary: &Summary, comparison: &Comparison) -> io::Result<()> {
    let name = format!(
        "{}: {} against {}",
        summary.settings.scenario, comparison.candidate, comparison.baseline
    );
    let endings: Vec<Option<Ending>> = comparison
        .metrics
        .iter()
        .enumerate()
        .map(|(position, metric)| ending(metric, (position == 0).then_some(&comparison.judgement)))
        .collect();
    let count = |element: &str| {
        let there = endings
            .iter()
            .flatten()
            .filter(|ending| ending.element == element);
        there.count().to_string()
    };
    xml.create_element("testsuite")
        .with_attributes([
            ("name", printable(&name).as_str()),
            ("tests", endings.len().to_string().as_str()),
            ("failures", count("failure").as_str()),
            ("errors", count("error").as_str()),
            ("skipped", count("skipped").as_str()),
        ])
        .write_inner_content(|xml| {
            properties(xml, summary)?;
            for (metric, ending) in comparison.metrics.iter().zip(&endings) {
                case(xml, summary, metric, ending.as_ref())?;
            }
            let doubts: Vec<String> = groups(summary).iter().map(|group| group.line(true)).collect();
            out(xml, &doubts.join("\n"))
        })?;
    Ok(())
}

fn properties(xml: &mut Xml, summary: &Summary) -> io::Result<()> {
    let (rounds, target) = (
        summary.rounds.to_string(),
        percent(summary.settings.target_reduction),
    );
    let mut properties = vec![
        ("run", summary.run.as_str()),
        ("cluster", summary.environment.cluster.as_str()),
        ("rounds", rounds.as_str()),
        ("target", target.as_str()),
    ];
    properties.extend(summary.imported.as_deref().map(|file| ("imported", file)));
    xml.create_element("properties").write_inner_content(|xml| {
        for (name, value) in properties {
            let property = xml.create_element("property");
            let value = printable(value);
            property
                .with_attributes([("name", name), ("value", value.as_str())])
                .write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn ending<'a>(metric: &'a Metric, judged: Option<&'a Judgement>) -> Option<Ending<'a>> {
    let ended = |element, kind: &dyn ToString, message| {
        Some(Ending {
            element,
            kind: kind.to_string(),
            message,
        })
    };
    match judged {
        Some(Judgement { verdict, reason, .. }) => match verdict {
            Verdict::Met => None,
            Verdict::NotMet => ended("failure", verdict, reason),
            Verdict::Inconclusive | Verdict::NotDemonstrated => ended("error", verdict, reason),
        },
        None => ended("skipped", &"unknown", metric.missing()?),
    }
}

fn case(xml: &mut Xml, summary: &Summary, metric: &Metric, ending: Option<&Ending>) -> io::Result<()> {
    let row = Row::new(metric, summary);
    let told = [
        ("baseline", &row.baseline),
        ("candidate", &row.candidate),
        ("saved or ratio", &row.change),
        ("95 % interval", &row.interval),
    ]
    .map(|(name, words)| match words {
        Ok(words) => format!("{name}: {words}"),
        Err(reason) => format!("{name}: not known, {reason}"),
    });
    let container = metric.container.iter();
    let name: String = [metric.name.to_owned()]
        .into_iter()
        .chain(container.map(|name| format!(" of {name}")))
        .collect();
    let class = format!("migbench.{}", printable(&summary.settings.scenario));
    xml.create_element("testcase")
        .with_attributes([("name", printable(&name).as_str()), ("classname", class.as_str())])
        .write_inner_content(|xml| {
            if let Some(Ending {
                element,
                kind,
                message,
            }) = ending
            {
                let message = printable(message);
                xml.create_element(*element)
                    .with_attributes([("type", kind.as_str()), ("message", message.as_str())])
                    .write_empty()?;
            }
            out(xml, &format!("{}\nwindow: {}", told.join("\n"), row.window))
        })?;
    Ok(())
}

fn out(xml: &mut Xml, text: &str) -> io::Result<()> {
    let text = printable(text);
    xml.create_element("system-out")
        .write_text_content(BytesText::new(&text))?;
    Ok(())
}

/// XML has no form for control characters, which the words of errors may hold.
fn printable(text: &str) -> String {
    let allowed = |character: &char| !character.is_control() || matches!(character, '\n' | '\t');
    text.chars().filter(allowed).collect()
}
