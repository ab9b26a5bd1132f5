//! The two ports that the certified set-up opens, and names.

use http::Request;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, ResourceExt};

use super::{
    Facts, Known,
    ask::{list, told},
    finding::{Finding, Question},
    probe::Probed,
};
use crate::deploy::MANAGED_BY;

const API_PORT: u16 = 6443;
const ORCHESTRATOR_PORT: i32 = 8080;
const ORCHESTRATOR_NAMESPACE: &str = "kube-system";

/// An orchestrator's service, and what it answered when asked for its health.
#[derive(Debug, Clone)]
pub(super) struct Orchestrator {
    pub(super) name: String,
    /// Whether migbench installed it.
    pub(super) is_ours: bool,
    health: Known<String>,
}

/// The orchestrator's service, if one is deployed.
pub(super) async fn find_orchestrator(client: &Client) -> Known<Option<Orchestrator>> {
    let services = list(Api::namespaced(client.clone(), ORCHESTRATOR_NAMESPACE)).await?;
    Ok(match services.iter().find(|service| is_orchestrator(service)) {
        Some(service) => Some(ask(client, service).await),
        None => None,
    })
}

fn is_orchestrator(service: &Service) -> bool {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let named = service.name_any().contains("orchestrator");
    named && ports.into_iter().any(|port| port.port == ORCHESTRATOR_PORT)
}

/// Through the API server: this host need not reach the pod network.
async fn ask(client: &Client, service: &Service) -> Orchestrator {
    let name = service.name_any();
    let path = format!(
        "/api/v1/namespaces/{ORCHESTRATOR_NAMESPACE}/services/{name}:{ORCHESTRATOR_PORT}/proxy/health"
    );
    let health = match Request::get(path).body(Vec::new()) {
        Ok(request) => client.request_text(request).await.map_err(|error| told(&error)),
        Err(error) => Err(error.to_string()),
    };
    Orchestrator {
        is_ours: service
            .labels()
            .get(MANAGED_BY.0)
            .is_some_and(|by| by == MANAGED_BY.1),
        name,
        health,
    }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![
        api_port(&facts.subject.server, facts.version.as_ref().err()),
        orchestrator_port(&facts.orchestrator),
    ];
    findings.extend(
        facts
            .probed
            .iter()
            .map(|probed| dns(probed, facts.subject.embedded)),
    );
    findings
}

fn api_port(server: &str, refused: Option<&String>) -> Finding {
    let question = Question::new(
        "API server",
        format!("answers ({API_PORT} unless the kubeconfig says otherwise)"),
    );
    let authority = server.trim_end_matches('/').trim_start_matches("https://");
    match refused {
        None => question.ok(format!("{authority} answers")),
        Some(why) => question.failed(
            format!("{authority}: {why}"),
            "open the port in the firewall, or mend the kubeconfig",
        ),
    }
}

fn orchestrator_port(orchestrator: &Known<Option<Orchestrator>>) -> Finding {
    let question = Question::new(
        "orchestrator",
        format!("a service on {ORCHESTRATOR_PORT} in {ORCHESTRATOR_NAMESPACE}"),
    );
    match orchestrator {
        Err(why) => question.skipped(why),
        Ok(None) => {
            question.skipped("not deployed; a run brings its own unless --orchestrator-url names one")
        }
        Ok(Some(found)) => match &found.health {
            Ok(_) => question.ok(format!("{} answers", found.name)),
            Err(why) => question.failed(
                format!("{}: {why}", found.name),
                format!(
                    "its pods must be Ready: kubectl -n {ORCHESTRATOR_NAMESPACE} describe service {}",
                    found.name
                ),
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
    fn none_deployed_is_no_fault_but_a_dead_one_is() {
        let dead = Orchestrator {
            name: "o".into(),
            is_ours: true,
            health: Err("no endpoints available".into()),
        };
        assert_eq!(orchestrator_port(&Ok(None)).status, Status::Skipped);
        assert_eq!(orchestrator_port(&Ok(Some(dead))).status, Status::Failed);
        assert_eq!(
            orchestrator_port(&Err("forbidden".into())).status,
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
        let server = "https://10.0.0.1:6443/";
        assert_eq!(api_port(server, None).found, "10.0.0.1:6443 answers");
        let refused = "connection refused".to_owned();
        assert_eq!(api_port(server, Some(&refused)).status, Status::Failed);
    }
}
