//! A look at a node from a pod on it.

use std::time::Duration;

use http::Request;
use kube::Client;
use serde_json::{Value, json};

use super::{
    Known, Place, Subject, Trouble,
    clocks::{self, Offset},
    reading::{Reading, driver_of},
    shell::{IDLE, Shell, ShellPod},
};
use crate::k8s::explain;

/// On a slow and busy node Python takes a while to start.
const SCRIPT_WITHIN: Duration = Duration::from_secs(60);

/// What was seen on a node.
#[derive(Debug, Clone)]
pub(super) struct Probed {
    pub(super) node: String,
    pub(super) reading: Known<Reading>,
    pub(super) clock: Known<Offset>,
    /// `systemd` or `cgroupfs`.
    pub(super) driver: Known<String>,
    /// Processor times once everything else was done.
    pub(super) load: Known<Reading>,
    shell: Option<Shell>,
}

impl Probed {
    /// Nothing was seen, with the reason.
    pub(super) fn unseen(node: &str, why: &str) -> Self {
        Self {
            node: node.to_owned(),
            reading: Err(why.to_owned()),
            clock: Err(why.to_owned()),
            driver: Err(why.to_owned()),
            load: Err(why.to_owned()),
            shell: None,
        }
    }

    /// What a test wants a node to have told.
    #[cfg(test)]
    pub(super) fn telling(text: &str) -> Self {
        Self {
            reading: Ok(Reading::parse(text)),
            load: Ok(Reading::parse(text)),
            ..Self::unseen("n", "not told")
        }
    }

    /// See how busy the node is. The doctor's own pods should be idle by now.
    pub(super) async fn read_load(&mut self) {
        if let Some(shell) = &self.shell {
            self.load = script(shell, include_str!("load.sh")).await;
        }
    }
}

/// Look at a node from a pod with the scenario's own image, which has to be there anyhow.
pub(super) async fn probe(subject: &Subject, place: &Place, node: &str, reachable: &Known<()>) -> Probed {
    if let Err(why) = reachable {
        return Probed::unseen(node, why);
    }
    let shell = match start(subject, place, node).await {
        Ok(shell) => shell,
        Err(trouble) => return Probed::unseen(node, &trouble.while_at("no pod ran there").reason()),
    };
    let clock = clocks::of_node(&shell).await;
    let reading = script(&shell, include_str!("probe.sh")).await;
    let root = reading
        .as_ref()
        .ok()
        .and_then(|reading| reading.get("cgroup.root"));
    let driver = match root {
        Some(root) => driver_of(root),
        None => configured_driver(&subject.connection.client, node).await,
    };
    Probed {
        reading,
        clock,
        driver,
        shell: Some(shell),
        ..Probed::unseen(node, "not read yet")
    }
}

async fn script(shell: &Shell, script: &str) -> Known<Reading> {
    let text = shell.run(script, SCRIPT_WITHIN).await;
    text.map(|text| Reading::parse(&text)).map_err(Trouble::reason)
}

async fn start(subject: &Subject, place: &Place, node: &str) -> Result<Shell, Trouble> {
    let host = (
        json!({"name": "host", "hostPath": {"path": "/sys", "type": "Directory"}}),
        json!({"name": "host", "mountPath": "/host/sys", "readOnly": true}),
    );
    let mut pod = ShellPod {
        purpose: "probe",
        node,
        script: IDLE.to_owned(),
        // The embedded cluster's containers see the host's own tree.
        volume: (!subject.embedded).then_some(host),
    };
    match pod.start(subject, place).await {
        Err(Trouble::Untried(why)) if is_host_path_refused(&why) => {
            pod.volume = None;
            pod.start(subject, place).await
        }
        outcome => outcome,
    }
}

/// Whether the Pod Security Standards keep pods from the host's directories here.
fn is_host_path_refused(why: &str) -> bool {
    why.contains("hostPath") && why.contains("PodSecurity")
}

/// The driver that the kubelet says it was configured with. Few may ask it; the tree tells as much.
async fn configured_driver(client: &Client, node: &str) -> Known<String> {
    let path = format!("/api/v1/nodes/{node}/proxy/configz");
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    let configuration: Value = client
        .request(request)
        .await
        .map_err(|error| explain::brief(&error))?;
    let driver = configuration["kubeletconfig"]["cgroupDriver"].as_str();
    driver
        .map(str::to_owned)
        .ok_or_else(|| "the kubelet does not tell".to_owned())
}
