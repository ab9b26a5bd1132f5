//! The two ports that the certified set-up opens, and names.

use std::time::Duration;

use http::Uri;

use super::{
    Facts, Known, Subject,
    finding::{Finding, Question},
    probe::Probed,
};
use crate::{
    migrate::endpoint::Endpoint,
    run::{Error, orchestrator},
};

const API_PORT: u16 = 6443;
const ORCHESTRATOR_PORT: u16 = 8080;
/// How long it may take to tell its health.
const ANSWER: Duration = Duration::from_secs(10);

/// An orchestrator, and what it answered when asked for its health.
#[derive(Debug, Clone)]
pub(super) struct Service {
    /// Its address, or where it was found.
    pub(super) name: String,
    /// Whether `migbench deploy` installed it.
    pub(super) is_installed: bool,
    health: Known<()>,
}

/// The orchestrator that a run would put under test, reached as the run would reach it.
pub(super) async fn find_orchestrator(subject: &Subject) -> Known<Service> {
    if subject.embedded {
        return Err("embedded: a run starts its own".to_owned());
    }
    if let Some(endpoint) = &subject.intent.orchestrator {
        return Ok(Service {
            name: endpoint.url.clone(),
            is_installed: false,
            health: ask(endpoint).await,
        });
    }
    let installed =
        orchestrator::Orchestrator::installed(&subject.connection.client, &subject.connection.name).await;
    let installed = installed.map_err(|error| match error {
        Error::Requirement { missing, .. } => missing,
        other => other.to_string(),
    })?;
    let endpoint = Endpoint {
        url: installed.url(),
        ..Endpoint::default()
    };
    Ok(Service {
        name: "the installed one".to_owned(),
        is_installed: true,
        health: ask(&endpoint).await,
    })
}

async fn ask(endpoint: &Endpoint) -> Known<()> {
    let address = format!("{}/health", endpoint.url.trim_end_matches('/'));
    let request = endpoint.authorise(endpoint.client(ANSWER)?.get(address))?;
    let answer = request.send().await.and_then(reqwest::Response::error_for_status);
    answer.map(drop).map_err(|error| error.to_string())
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![
        api_port(&facts.subject.connection.endpoint, facts.version.as_ref().err()),
        orchestrator_port(&facts.orchestrator, facts.subject.embedded),
    ];
    findings.extend(
        facts
            .probed
            .iter()
            .map(|probed| dns(probed, facts.subject.embedded)),
    );
    findings
}

fn api_port(endpoint: &Uri, refused: Option<&String>) -> Finding {
    let question = Question::new(
        "API server",
        format!("answers ({API_PORT} unless the kubeconfig says otherwise)"),
    );
    let authority = endpoint.authority().map_or("?", |authority| authority.as_str());
    match refused {
        None => question.ok(format!("{authority} answers")),
        Some(why) => question.failed(
            format!("{authority}: {why}"),
            "open the port in the firewall, or mend the kubeconfig",
        ),
    }
}

fn orchestrator_port(orchestrator: &Known<Service>, embedded: bool) -> Finding {
    let question = Question::new("orchestrator", format!("answers on {ORCHESTRATOR_PORT}"));
    match orchestrator {
        Err(why) if embedded => question.skipped(why),
        Err(why) => question.failed(
            why,
            "migbench deploy installs one; --orchestrator-url names another one",
        ),
        Ok(found) => match &found.health {
            Ok(()) => question.ok(format!("{} answers", found.name)),
            Err(why) => question.failed(
                format!("{}: {why}", found.name),
                "see whether it runs, and whether a firewall lets the port through",
            ),
        },
    }
}

fn dns(probed: &Probed, embedded: bool) -> Finding {
    let question = Question::new("cluster DNS", "resolves kubernetes.default.svc").on(&probed.node);
    if embedded {
        return question.skipped("embedded: there is no network between pods");
    }
    let reading = match &probed.reading {
        Err(why) => return question.skipped(why),
        Ok(reading) => reading,
    };
    match reading.get("dns") {
        Some("yes") => question.ok("it does"),
        Some(_) => question.warning(
            "it does not",
            "a run does without names; deploy CoreDNS for workloads that do not",
        ),
        None => question.skipped("the image has no getent to try it with"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_run_needs_an_orchestrator_that_answers() {
        let answering = |health| {
            let found = Service {
                name: "o".into(),
                is_installed: true,
                health,
            };
            orchestrator_port(&Ok(found), false).status
        };
        assert_eq!(answering(Ok(())), Status::Ok);
        assert_eq!(answering(Err("no endpoints available".into())), Status::Failed);
        let none = Err("no orchestrator".to_owned());
        assert_eq!(orchestrator_port(&none, false).status, Status::Failed);
        assert_eq!(orchestrator_port(&none, true).status, Status::Skipped);
    }

    #[test]
    fn a_cluster_without_names_warns() {
        let judged = |text: &str| {
            let probed = Probed::telling(text);
            dns(&probed, false).status
        };
        assert_eq!(judged("dns=yes"), Status::Ok);
        assert_eq!(judged("dns=no"), Status::Warning);
        assert_eq!(judged(""), Status::Skipped);
    }

    #[test]
    fn the_port_is_the_kubeconfigs() {
        let endpoint = Uri::from_static("https://10.0.0.1:6443/");
        assert_eq!(api_port(&endpoint, None).found, "10.0.0.1:6443 answers");
        let refused = "connection refused".to_owned();
        assert_eq!(api_port(&endpoint, Some(&refused)).status, Status::Failed);
    }
}
