//! The init containers that check, from the target's own mounts, what the migrated containers are going to rely on.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, PodSpec, ResourceRequirements, VolumeMount},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{Parts, reader};
pub use crate::orchestrator::analysis::reserved::is_ours;
use crate::{
    contract::workload::Manifest,
    orchestrator::{
        analysis::{Plan, mounts, reserved::VERIFY},
        failure::{Failure, Reason},
    },
};

/// Environment variable that holds the manifests to check, a JSON array; what is more than [`PIECE`] goes on in
/// `MIGRATION_MANIFESTS_1` and so on.
const MANIFESTS_VARIABLE: &str = "MIGRATION_MANIFESTS";
/// Longest piece in one variable, bytes: the kernel allows 128 KiB.
const PIECE: usize = 100 << 10;
/// Longest manifests together as JSON, bytes: they are a part of the pod, and etcd takes 1.5 MiB.
const LONGEST: usize = 1 << 20;

/// Check that the manifests of a pod can be handed to it.
///
/// # Errors
/// They are too long together.
pub fn check_length<'a>(manifests: impl Iterator<Item = &'a Manifest>) -> Result<(), Failure> {
    let manifests: Vec<_> = manifests.collect();
    let length = json(&manifests).len();
    if length <= LONGEST {
        return Ok(());
    }
    let files: usize = manifests.iter().map(|manifest| manifest.files.len()).sum();
    let why = format!(
        "checkpoint manifests: {files} files are too many ({length} bytes of JSON together; {LONGEST} can be handed over)"
    );
    Err(Failure::new(Reason::ManifestInvalid, why))
}

/// The manifests in a container's environment, a JSON array; `read` reads a variable.
pub fn manifests(read: impl Fn(&str) -> Option<String>) -> String {
    (0..).map_while(|number| read(&variable(number))).collect()
}

fn variable(number: usize) -> String {
    if number == 0 {
        MANIFESTS_VARIABLE.to_owned()
    } else {
        format!("{MANIFESTS_VARIABLE}_{number}")
    }
}

/// Without `$`, of which Kubernetes makes something else in a variable's value.
fn json(manifests: &[&Manifest]) -> String {
    let json = serde_json::to_string(manifests).unwrap_or_default();
    json.replace('$', "\\u0024")
}

fn environment(manifests: &[&Manifest]) -> Vec<EnvVar> {
    let (json, mut variables) = (json(manifests), Vec::new());
    let mut rest = json.as_str();
    while !rest.is_empty() {
        let mut end = PIECE.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        variables.push(EnvVar {
            name: variable(variables.len()),
            value: Some(piece.to_owned()),
            value_from: None,
        });
        rest = after;
    }
    variables
}

/// A text as an argument or a variable's value that Kubernetes makes just this of.
pub fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// What is to be checked through one mount.
#[derive(Debug)]
struct Verification<'a> {
    mount: VolumeMount,
    /// The container that the mount was taken from, and that wrote what lies there.
    writer: &'a Container,
    manifests: Vec<&'a Manifest>,
    required: Vec<&'a str>,
}

/// One init container for each mount that checkpoints or outputs lie on.
pub fn containers(spec: &PodSpec, plan: &Plan, parts: &Parts) -> Vec<Container> {
    let mut verifications = Vec::new();
    for checkpointed in &plan.checkpointed {
        if let Some(manifest) = parts.checkpoints.get(&checkpointed.container) {
            let mount = &checkpointed.mount;
            if let Some(verification) = at(&mut verifications, spec, &checkpointed.container, mount) {
                verification.manifests.push(manifest);
            }
        }
    }
    for (container, outputs) in &parts.outputs {
        for (mount, output) in located(spec, container, outputs) {
            if let Some(verification) = at(&mut verifications, spec, container, &mount) {
                verification.required.push(output);
            }
        }
    }
    let mut moved = spec.containers.iter();
    let resources = moved
        .find(|container| plan.migrates(&container.name))
        .and_then(resources);
    let numbered = verifications.iter().enumerate();
    numbered
        .map(|(index, verification)| Container {
            image: Some(parts.verify_image.clone()),
            resources: resources.clone(),
            security_context: Some(reader::of(&plan.pod, verification.writer)),
            ..build(index, verification)
        })
        .collect()
}

/// The verification through this mount, begun if there is none yet.
fn at<'a, 'b>(
    verifications: &'b mut Vec<Verification<'a>>,
    spec: &'a PodSpec,
    container: &str,
    mount: &VolumeMount,
) -> Option<&'b mut Verification<'a>> {
    let found = verifications
        .iter()
        .position(|verification| mounts::same(&verification.mount, mount));
    if let Some(index) = found {
        return verifications.get_mut(index);
    }
    let writer = spec
        .containers
        .iter()
        .find(|candidate| candidate.name == container)?;
    verifications.push(Verification {
        mount: mount.clone(),
        writer,
        manifests: Vec::new(),
        required: Vec::new(),
    });
    verifications.last_mut()
}

/// The outputs that lie on a persistent volume, each with its mount.
fn located<'a>(spec: &PodSpec, container: &str, outputs: &'a [String]) -> Vec<(VolumeMount, &'a str)> {
    let mounts: Vec<_> = mounts::claim_mounts(spec, container).collect();
    let located = |output: &'a String| Some((mounts::mount_below(&mounts, output)?.clone(), output.as_str()));
    outputs.iter().filter_map(located).collect()
}

fn build(index: usize, verification: &Verification<'_>) -> Container {
    let name = if index == 0 {
        VERIFY.to_owned()
    } else {
        format!("{VERIFY}-{index}")
    };
    let mut command = ["migbench", "verify-checkpoint", "--root"]
        .map(str::to_owned)
        .to_vec();
    command.push(literal(&verification.mount.mount_path));
    for output in &verification.required {
        command.extend(["--require".to_owned(), literal(output)]);
    }
    Container {
        name,
        // The image was chosen for this service; pulling it again would only cost time while the source stands still.
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(command),
        env: Some(environment(&verification.manifests)),
        volume_mounts: Some(vec![VolumeMount {
            read_only: Some(true),
            ..verification.mount.clone()
        }]),
        ..Container::default()
    }
}

/// CPU and memory of a container that starts afterwards: so this adds nothing to what the pod requests, changes
/// nothing in its quality of service, and passes every limit range that the pod has passed.
fn resources(like: &Container) -> Option<ResourceRequirements> {
    let only = |amounts: &Option<BTreeMap<String, Quantity>>| {
        let kept = amounts
            .iter()
            .flatten()
            .filter(|(name, _)| *name == "cpu" || *name == "memory");
        let kept: BTreeMap<_, _> = kept
            .map(|(name, amount)| (name.clone(), amount.clone()))
            .collect();
        (!kept.is_empty()).then_some(kept)
    };
    let resources = like.resources.as_ref()?;
    Some(ResourceRequirements {
        limits: only(&resources.limits),
        requests: only(&resources.requests),
        ..ResourceRequirements::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contract::workload::ManifestFile,
        orchestrator::{analysis::analyse, fixtures},
    };

    fn parts(checkpoints: &[&str], outputs: &[&str]) -> Parts {
        let manifest = Manifest {
            step: 1,
            epoch: None,
            directory: "g".into(),
            files: Vec::new(),
            timings: None,
        };
        Parts {
            name: "n".into(),
            migration_id: "m".into(),
            migration_uid: "u".into(),
            target_node: "worker".into(),
            stands_by: false,
            checkpoints: checkpoints
                .iter()
                .map(|name| ((*name).to_owned(), manifest.clone()))
                .collect(),
            outputs: [(
                "processor".to_owned(),
                outputs.iter().map(|path| (*path).to_owned()).collect(),
            )]
            .into(),
            verify_image: "registry/migbench:1".into(),
        }
    }

    fn built(change: impl FnOnce(&mut k8s_openapi::api::core::v1::Pod), outputs: &[&str]) -> Vec<Container> {
        let mut snapshot = fixtures::snapshot();
        change(&mut snapshot.pod);
        let plan = analyse(&fixtures::order(), &snapshot).unwrap();
        let spec = snapshot.pod.spec.unwrap();
        containers(&spec, &plan, &parts(&["trainer"], outputs))
    }

    #[test]
    fn one_mount_is_checked_by_one_container() {
        let built = built(|_| {}, &["/ckpt/data/a.bin", "/tmp/elsewhere"]);
        assert_eq!(built.len(), 1);
        let command = built[0].command.as_ref().unwrap().join(" ");
        assert_eq!(
            command,
            "migbench verify-checkpoint --root /ckpt --require /ckpt/data/a.bin"
        );
        let mount = &built[0].volume_mounts.as_ref().unwrap()[0];
        assert_eq!(
            (mount.sub_path.as_deref(), mount.read_only),
            (Some("leg-1"), Some(true))
        );
    }

    #[test]
    fn another_sub_path_is_another_mount() {
        let elsewhere = |pod: &mut k8s_openapi::api::core::v1::Pod| {
            let processor = &mut pod.spec.as_mut().unwrap().containers[1];
            processor.volume_mounts.as_mut().unwrap()[0].sub_path = Some("data".into());
        };
        let built = built(elsewhere, &["/ckpt/a.bin"]);
        let names: Vec<_> = built.iter().map(|container| container.name.as_str()).collect();
        assert_eq!(names, ["verify-checkpoint", "verify-checkpoint-1"]);
        assert!(names.iter().all(|name| is_ours(name)));
    }

    #[test]
    fn manifests_arrive_as_they_were_however_long_they_are() {
        let file = |number: usize| ManifestFile {
            path: format!("$(HOME)/$$/ä-{number}"),
            size: 1,
            sha256: "a0".repeat(32),
        };
        let manifest = |files| Manifest {
            step: 1,
            epoch: None,
            directory: "g".into(),
            files: (0..files).map(file).collect(),
            timings: None,
        };
        let long = manifest(2_000);
        let variables = environment(&[&long, &long]);
        assert!(variables.len() > 3);
        for variable in &variables {
            let value = variable.value.as_ref().unwrap();
            assert!(value.len() <= PIECE && !value.contains('$'), "{}", variable.name);
        }
        let read = |name: &str| variables.iter().find(|known| known.name == name)?.value.clone();
        let arrived: Vec<Manifest> = serde_json::from_str(&manifests(read)).unwrap();
        assert_eq!(arrived, [long.clone(), long.clone()]);
        assert_eq!(check_length([&long, &long].into_iter()), Ok(()));
        let refused = check_length([&long, &long, &manifest(6_000)].into_iter()).unwrap_err();
        assert_eq!(refused.reason, Reason::ManifestInvalid);
    }

    #[test]
    fn devices_are_not_asked_for_a_second_time() {
        let with_gpu = |pod: &mut k8s_openapi::api::core::v1::Pod| {
            let trainer = &mut pod.spec.as_mut().unwrap().containers[0];
            let limits = trainer.resources.as_mut().unwrap().limits.as_mut().unwrap();
            limits.insert("ephemeral-storage".into(), Quantity("1Gi".into()));
        };
        let mut snapshot = fixtures::snapshot();
        with_gpu(&mut snapshot.pod);
        let limits = resources(&snapshot.pod.spec.unwrap().containers[0])
            .unwrap()
            .limits
            .unwrap();
        assert_eq!(limits.keys().collect::<Vec<_>>(), ["cpu"]);
    }
}
