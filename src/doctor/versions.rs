//! Software versions.

use std::fmt;

use http::{Request, header::DATE};
use http_body_util::BodyExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::{Client, client::Body};

use super::{
    Facts, Known,
    clocks::{self, Offset},
    finding::{Finding, Question},
    nodes,
};
use crate::{k8s::explain, run::environment};

/// Major and minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

const KUBERNETES: Version = Version(1, 28);
const CONTAINERD: Version = Version(1, 7);
/// The certified set-up's kernel. What a run needs of it is cgroup v2, which older ones have too.
const KERNEL: Version = Version(6, 14);
const KUBECTL: Version = Version(1, 28);
const DOCKER: Version = Version(24, 0);
const TENSORFLOW: &str = "2.13.0";

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Version {
    /// The first two numbers in a text such as `v1.35.4+k3s1` or `Docker version 24.0.7, build …`.
    fn parse(text: &str) -> Option<Self> {
        let start = text.find(|c: char| c.is_ascii_digit())?;
        let mut numbers = text[start..].split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        Some(Self(major, numbers.next()?.parse().ok()?))
    }
}

/// The API server's version, and its clock from the same answer.
pub(super) async fn of_server(client: &Client) -> Known<(String, Known<Offset>)> {
    let request = Request::get("/version").body(Body::empty());
    let request = request.map_err(|error| error.to_string())?;
    let before = Timestamp::now();
    let answer = client
        .send(request)
        .await
        .map_err(|error| explain::brief(&error))?;
    let after = Timestamp::now();
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let clock = match date {
        Some(date) => clocks::of_answer(before, date, after),
        None => Err("the API server's answers carry no Date".to_owned()),
    };
    let (head, body) = answer.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    let info: Info = serde_json::from_slice(&body).map_err(|_| format!("GET /version: {}", head.status))?;
    Ok((info.git_version, clock))
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![kubernetes(&facts.version)];
    for name in facts.subject.nodes() {
        let info = nodes::find(&facts.nodes, name).map(environment::node_info);
        let (version, release) = (
            info.clone().map(|info| info.runtime),
            info.map(|info| info.kernel),
        );
        findings.push(runtime(name, &version, facts.subject.embedded));
        findings.push(kernel(name, &release));
    }
    findings.push(tool("kubectl", KUBECTL, &facts.tools.kubectl));
    findings.push(tool("docker", DOCKER, &facts.tools.docker));
    for probed in &facts.probed {
        let version = probed.reading.as_ref().map(|reading| reading.get("tensorflow"));
        findings.extend(tensorflow(facts, &probed.node, version.map_err(Clone::clone)));
    }
    findings
}

fn kubernetes(version: &Known<String>) -> Finding {
    let question = Question::new("Kubernetes", format!("{KUBERNETES} or newer"));
    let remedy = "upgrade the control plane; migbench relies on server-side apply and WebSocket exec as they are since";
    match version.as_ref().map(|text| (text, Version::parse(text))) {
        Err(why) => question.failed(why, "check the address and the credentials in the kubeconfig"),
        Ok((text, Some(version))) if version >= KUBERNETES => question.ok(text),
        Ok((text, _)) => question.failed(text, format!("{remedy} {KUBERNETES}")),
    }
}

fn runtime(node: &str, told: &Known<String>, embedded: bool) -> Finding {
    let question = Question::new("container runtime", format!("containerd {CONTAINERD} or newer")).on(node);
    let text = match told {
        Err(why) => return question.skipped(why),
        Ok(text) if embedded => return question.skipped(format!("embedded: {text}")),
        Ok(text) => text,
    };
    match text.strip_prefix("containerd://") {
        Some(version) if Version::parse(version) >= Some(CONTAINERD) => question.ok(text),
        Some(_) => question.failed(text, format!("upgrade containerd to {CONTAINERD} or newer")),
        None => question.warning(
            text,
            "the certified set-up has containerd; cgroups of CRI-O are found too, other runtimes are untried",
        ),
    }
}

fn kernel(node: &str, told: &Known<String>) -> Finding {
    let question = Question::new("kernel", format!("{KERNEL} or newer")).on(node);
    match told {
        Err(why) => question.skipped(why),
        Ok(text) => question.ok_if(
            Version::parse(text) >= Some(KERNEL),
            text,
            "a run goes without (it needs cgroup v2), but this is not the certified set-up",
        ),
    }
}

fn tool(name: &'static str, least: Version, told: &Known<String>) -> Finding {
    let question = Question::new(name, format!("{least} or newer, where it is used"));
    match told {
        Err(why) => question.skipped(format!("{why}; migbench does without")),
        Ok(text) => question.ok_if(
            Version::parse(text) >= Some(least),
            text,
            format!("upgrade {name} before driving this cluster with it"),
        ),
    }
}

/// The image's TensorFlow, if the scenario trains with it. An image that brings none trains with something else.
fn tensorflow(facts: &Facts, node: &str, version: Known<Option<&str>>) -> Option<Finding> {
    if facts.subject.intent.scenario.workload != "tensorflow" {
        return None;
    }
    let question = Question::new("TensorFlow", TENSORFLOW).on(node);
    let remedy = format!("use the image tensorflow/tensorflow:{TENSORFLOW}");
    Some(match version {
        Err(why) => question.skipped(why),
        Ok(Some(TENSORFLOW)) => question.ok(TENSORFLOW),
        Ok(Some(other)) => question.warning(other, remedy),
        Ok(None) => question.failed("the image has none", remedy),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn told(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn versions_as_programs_print_them() {
        for (text, version) in [
            ("v1.35.4", Some(Version(1, 35))),
            ("v1.28.0-eks-1234", Some(Version(1, 28))),
            ("6.14.0-15-generic", Some(Version(6, 14))),
            ("Docker version 24.0.7, build afdd53b", Some(Version(24, 0))),
            ("7", None),
            ("unknown", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
    }

    #[test]
    fn an_old_control_plane_fails_and_an_old_kernel_warns() {
        assert_eq!(kubernetes(&Ok(told("v1.27.9"))).status, Status::Failed);
        assert_eq!(kubernetes(&Ok(told("v1.28.0"))).status, Status::Ok);
        assert_eq!(kubernetes(&Err("refused".into())).status, Status::Failed);
        assert_eq!(kernel("n", &Ok(told("5.15.0-100"))).status, Status::Warning);
        assert_eq!(kernel("n", &Ok(told("6.14.0"))).status, Status::Ok);
    }

    #[test]
    fn the_runtime_is_told_by_the_node() {
        let judged = |text: &str| runtime("n", &Ok(told(text)), false).status;
        assert_eq!(judged("containerd://1.7.0"), Status::Ok);
        assert_eq!(judged("containerd://1.6.33"), Status::Failed);
        assert_eq!(judged("cri-o://1.31.0"), Status::Warning);
        assert_eq!(
            runtime("n", &Ok(told("migbench://0.1")), true).status,
            Status::Skipped
        );
    }

    #[test]
    fn a_tool_that_is_missing_is_not_missed() {
        assert_eq!(tool("kubectl", KUBECTL, &Ok(told("v1.32.4"))).status, Status::Ok);
        assert_eq!(
            tool("kubectl", KUBECTL, &Ok(told("v1.20.0"))).status,
            Status::Warning
        );
        assert_eq!(
            tool("kubectl", KUBECTL, &Err("not installed".into())).status,
            Status::Skipped
        );
    }
}
