//! The pod as it is applied for one leg: on one node, with a directory of its own on the checkpoint volume.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::{Placement, Scenario};
use crate::k8s::labels::HOSTNAME_LABEL;

/// What a scenario calls the image of this program.
pub const OWN_IMAGE: &str = "migbench";

impl Scenario {
    /// Source and target node, swapped when the pod moves the other way.
    pub fn direction(&self, reversed: bool) -> (&str, &str) {
        if reversed {
            (&self.target, &self.source)
        } else {
            (&self.source, &self.target)
        }
    }

    /// The two nodes, the source of the first round first.
    pub fn nodes(&self) -> [&str; 2] {
        [&self.source, &self.target]
    }

    /// Take this program's image from where the nodes find it. In a scenario it is called [`OWN_IMAGE`].
    pub fn use_image(&mut self, image: &str) {
        for container in self.pod.spec.iter_mut().flat_map(containers) {
            if container.image.as_deref() == Some(OWN_IMAGE) {
                container.image = Some(image.to_owned());
            }
        }
    }

    /// The pod of a leg on `node`. `leg` names the directory on the checkpoint volume: legs start from equal states
    /// because none sees what another one left there.
    pub fn pod_on(&self, node: &str, leg: &str) -> Pod {
        let mut pod = self.pod.clone();
        if let Some(spec) = &mut pod.spec {
            self.place(spec, node);
            for container in containers(spec) {
                self.isolate(container, leg);
            }
        }
        pod
    }

    /// Send a pod to `node` as the scenario's own is sent.
    pub fn place(&self, spec: &mut PodSpec, node: &str) {
        match self.placement {
            Placement::NodeName => spec.node_name = Some(node.to_owned()),
            Placement::NodeSelector => {
                let selector = spec.node_selector.get_or_insert_default();
                selector.insert(HOSTNAME_LABEL.to_owned(), node.to_owned());
            }
        }
    }

    fn isolate(&self, container: &mut Container, leg: &str) {
        for mount in container.volume_mounts.iter_mut().flatten() {
            if mount.name == self.checkpoint_volume {
                mount.sub_path = Some(match mount.sub_path.take() {
                    Some(own) => format!("{leg}/{own}"),
                    None => leg.to_owned(),
                });
            }
        }
    }
}

/// Every container of the pod, init containers first.
pub(super) fn containers(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    let init = spec.init_containers.iter_mut().flatten();
    init.chain(&mut spec.containers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_image_of_this_program_is_taken_from_elsewhere() {
        let mut scenario = Scenario::load("smoke", None, &[]).unwrap();
        let spec = scenario.pod.spec.as_mut().unwrap();
        spec.init_containers = Some(vec![spec.containers[0].clone()]);
        spec.containers[1].image = Some("other".into());
        scenario.use_image("registry/migbench:1");
        let mut spec = scenario.pod.spec.unwrap();
        let images: Vec<_> = containers(&mut spec)
            .map(|container| container.image.take().unwrap())
            .collect();
        let own = "registry/migbench:1";
        assert_eq!(images, [own, own, "other", own]);
    }

    #[test]
    fn a_pod_is_sent_to_its_node_and_kept_to_its_directory() {
        let mut scenario = Scenario::load("smoke", None, &[]).unwrap();
        let spec = scenario.pod.spec.as_mut().unwrap();
        let first = spec.containers[0].volume_mounts.as_mut().unwrap();
        first[0].sub_path = Some("own".to_owned());
        let node = "ai-storage-worker-01";
        scenario.placement = Placement::NodeSelector;
        let selected = scenario.pod_on(node, "r1-native").spec.unwrap();
        assert_eq!(selected.node_selector.unwrap()[HOSTNAME_LABEL], node);
        assert_eq!(selected.node_name, None);
        scenario.placement = Placement::NodeName;
        let spec = scenario.pod_on(node, "r1-native").spec.unwrap();
        assert_eq!(
            (spec.node_name.as_deref(), spec.node_selector),
            (Some(node), None)
        );
        let sub_paths: Vec<_> = spec
            .containers
            .iter()
            .map(|container| {
                container.volume_mounts.as_ref().unwrap()[0]
                    .sub_path
                    .as_deref()
                    .unwrap()
            })
            .collect();
        assert_eq!(sub_paths, ["r1-native/own", "r1-native", "r1-native"]);
    }
}
