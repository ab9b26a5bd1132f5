//! The two ports that the certified set-up opens, and names.

use http::{Request, Uri};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, ResourceExt};

use super::{
    Facts, Known,
    ask::{list, told},
    finding::{Finding, Question},
    probe::Probed,
};
use crate::{deploy::MANAGED_BY, install::NAMESPACE};

const API_PORT: u16 = 6443;
const ORCHESTRATOR_PORT: i32 = 8080;

/// An orchestrator, and what it answered when asked for its health.
#[derive(Debug, Clone)]
pub(super) struct Orchestrator {
    /// Its service or its address.
    pub(super) name: String,
    /// Whether migbench installed it.
    pub(super) is_ours: bool,
    health: Known<()>,
}

/// The orchestrator at `url`, else the one that is installed.
pub(super) async fn find_orchestrator(client: &Client, url: Option<&str>) -> Known<Option<Orchestrator>> {
    if let Some(url) = url {
        return Ok(Some(Orchestrator {
            name: url.to_owned(),
            is_ours: false,
            health: ask(url).await,
        }));
    }
    let services: Vec<Service> = list(Api::namespaced(client.clone(), NAMESPACE)).await?;
    Ok(match services.iter().find(|service| is_orchestrator(service)) {
        Some(service) => Some(Orchestrator {
            name: service.name_any(),
            is_ours: service
                .labels()
                .get(MANAGED_BY.0)
                .is_some_and(|by| by == MANAGED_BY.1),
            health: ask_through(client, &service.name_any()).await,
        }),
        None => None,
    })
}

async fn ask(url: &str) -> Known<()> {
    let address = format!("{}/health", url.trim_end_matches('/'));
    let answer = reqwest::get(address)
        .await
        .and_then(reqwest::Response::error_for_status);
    answer.map(drop).map_err(|error| error.to_string())
}

/// Through the API server: this host need not reach the pod network.
async fn ask_through(client: &Client, service: &str) -> Known<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/services/{service}:{ORCHESTRATOR_PORT}/proxy/health");
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    client
        .request_text(request)
        .await
        .map(drop)
        .map_err(|error| told(&error))
}

fn is_orchestrator(service: &Service) -> bool {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let named = service.name_any().contains("orchestrator");
    named && ports.into_iter().any(|port| port.port == ORCHESTRATOR_PORT)
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![
        api_port(&facts.subject.endpoint, facts.version.as_ref().err()),
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

fn orchestrator_port(orchestrator: &Known<Option<Orchestrator>>, embedded: bool) -> Finding {
    let wanted = format!("answers on {ORCHESTRATOR_PORT}");
    let question = Question::new("orchestrator", wanted);
    match orchestrator {
        _ if embedded => question.skipped("embedded: a run starts its own"),
        Err(why) => question.skipped(why),
        Ok(None) => question.failed(
            format!("no service in {NAMESPACE}"),
            "migbench deploy installs one; --orchestrator-url names another one",
        ),
        Ok(Some(found)) => match &found.health {
            Ok(()) => question.ok(format!("{} answers", found.name)),
            Err(why) => question.failed(
                format!("{}: {why}", found.name),
                "its pod must be Ready and the firewall let the port through: kubectl -n kube-system get pods",
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
    use serde_json::json;

    use super::*;
    use crate::cluster::doctor::Status;

    fn service(name: &str, port: i32) -> Service {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"ports": [{"port": port}]}}))
            .unwrap()
    }

    #[test]
    fn an_orchestrator_is_known_by_name_and_port() {
        assert!(is_orchestrator(&service("ai-storage-orchestrator", 8080)));
        assert!(!is_orchestrator(&service("ai-storage-orchestrator", 9090)));
        assert!(!is_orchestrator(&service("dashboard", 8080)));
    }

    #[test]
    fn a_run_needs_an_orchestrator_that_answers() {
        let answering = |health| {
            let found = Orchestrator {
                name: "o".into(),
                is_ours: true,
                health,
            };
            orchestrator_port(&Ok(Some(found)), false).status
        };
        assert_eq!(answering(Ok(())), Status::Ok);
        assert_eq!(answering(Err("no endpoints available".into())), Status::Failed);
        assert_eq!(orchestrator_port(&Ok(None), false).status, Status::Failed);
        assert_eq!(orchestrator_port(&Ok(None), true).status, Status::Skipped);
        assert_eq!(
            orchestrator_port(&Err("forbidden".into()), false).status,
            Status::Skipped
        );
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
