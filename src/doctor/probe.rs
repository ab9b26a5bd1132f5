//! A look at a node from a pod on it.

use std::time::Duration;

use super::{
    Known, Subject, cgroup,
    clocks::{self, Offset},
    errand::{self, Errand, Running, Trouble},
    place::Place,
    reading::Reading,
};

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
    running: Option<Running>,
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
            running: None,
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
        if let Some(running) = &self.running {
            self.load = script(running, include_str!("load.sh")).await;
        }
    }
}

/// Look at a node from a pod with the scenario's own image, which has to be there anyhow.
pub(super) async fn probe(subject: &Subject, place: &Place, node: &str) -> Probed {
    let running = match start(subject, place, node).await {
        Ok(running) => running,
        Err(trouble) => return Probed::unseen(node, &trouble.while_at("no pod ran there").reason()),
    };
    let clock = clocks::of_node(&running).await;
    let reading = script(&running, include_str!("probe.sh")).await;
    let root = reading
        .as_ref()
        .ok()
        .and_then(|reading| reading.get("cgroup.root"));
    let driver = match root {
        Some(root) => cgroup::driver_of(root),
        None => cgroup::configured_driver(&subject.client, node).await,
    };
    Probed {
        reading,
        clock,
        driver,
        running: Some(running),
        ..Probed::unseen(node, "not read yet")
    }
}

async fn script(running: &Running, script: &str) -> Known<Reading> {
    let text = running.shell(script, SCRIPT_WITHIN).await;
    text.map(|text| Reading::parse(&text)).map_err(Trouble::reason)
}

async fn start(subject: &Subject, place: &Place, node: &str) -> Result<Running, Trouble> {
    let mut errand = Errand {
        name: format!("probe-{node}"),
        node,
        image: subject.scenario_image().map_err(Trouble::Untried)?,
        command: errand::idle(),
        // The embedded cluster's containers see the host's own tree.
        volume: (!subject.embedded).then(|| errand::host_directory("/sys", "/host/sys")),
    };
    match Running::start(subject, place, &errand).await {
        Err(Trouble::Untried(why)) if is_host_path_refused(&why) => {
            errand.volume = None;
            Running::start(subject, place, &errand).await
        }
        outcome => outcome,
    }
}

/// Whether the Pod Security Standards keep pods from the host's directories here.
fn is_host_path_refused(why: &str) -> bool {
    why.contains("hostPath") && why.contains("PodSecurity")
}
