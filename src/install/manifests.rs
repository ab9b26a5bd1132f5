//! The manifests, as they are in the repository's `manifests/`, with an installation's parameters put in.

use include_dir::{Dir, include_dir};
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

use super::{IMAGE, Parameters};

static BASE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/manifests/base");
static NFS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/manifests/components/nfs");
/// Argument of the orchestrator that names an image too.
const VERIFY_IMAGE: &str = "--verify-image=";

/// The files of a directory in the order in which kustomize takes them.
#[derive(Debug, Deserialize)]
struct Kustomization {
    resources: Vec<String>,
}

/// Why the manifests cannot be used; only a fault of this program can be the cause.
#[derive(Debug, thiserror::Error)]
#[error("the built-in manifests are damaged: {0}")]
pub struct Damaged(String);

/// Everything that is installed, in the order in which it is applied.
pub fn objects(parameters: &Parameters) -> Result<Vec<DynamicObject>, Damaged> {
    let mut values = read(&BASE)?;
    if parameters.nfs.is_some() {
        values.extend(read(&NFS)?);
    }
    values
        .into_iter()
        .map(|value| parametrised(value, parameters))
        .collect()
}

/// The same as a stream of YAML documents.
pub fn yaml(objects: &[DynamicObject]) -> Result<String, Damaged> {
    let mut text = String::new();
    for object in objects {
        text += "---\n";
        text += &serde_saphyr::to_string(object).map_err(|error| Damaged(error.to_string()))?;
    }
    Ok(text)
}

fn read(directory: &'static Dir<'static>) -> Result<Vec<Value>, Damaged> {
    let kustomization: Kustomization = serde_saphyr::from_str(text(directory, "kustomization.yaml")?)
        .map_err(|error| Damaged(error.to_string()))?;
    let mut values = Vec::new();
    for file in &kustomization.resources {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text(directory, file)?)
            .map_err(|error| Damaged(format!("{file}: {error}")))?;
        values.extend(documents);
    }
    Ok(values)
}

fn text(directory: &'static Dir<'static>, name: &str) -> Result<&'static str, Damaged> {
    let file = directory
        .get_file(name)
        .and_then(include_dir::File::contents_utf8);
    file.ok_or_else(|| Damaged(format!("no {name}")))
}

fn parametrised(mut value: Value, parameters: &Parameters) -> Result<DynamicObject, Damaged> {
    each_string(&mut value, &mut |text| {
        if text == IMAGE {
            text.clone_from(&parameters.image);
        } else if text.strip_prefix(VERIFY_IMAGE) == Some(IMAGE) {
            *text = format!("{VERIFY_IMAGE}{}", parameters.image);
        }
    });
    if let (Some(nfs), Some(volume)) = (&parameters.nfs, value.pointer_mut("/spec/nfs")) {
        volume["server"] = nfs.server.clone().into();
        volume["path"] = nfs.path.clone().into();
    }
    serde_json::from_value(value).map_err(|error| Damaged(error.to_string()))
}

/// Show every string in a document to `change`.
fn each_string(value: &mut Value, change: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_string(item, change)),
        Value::Object(entries) => entries.values_mut().for_each(|entry| each_string(entry, change)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;

    use super::*;
    use crate::{
        install::{Nfs, agent, describe},
        k8s::labels::MANAGED_BY,
    };

    fn parameters() -> Parameters {
        Parameters {
            image: "registry.example/migbench:x".into(),
            nfs: Some(Nfs {
                server: "10.0.0.1".into(),
                path: "/export".into(),
            }),
        }
    }

    #[test]
    fn everything_is_labelled_and_in_its_place() {
        let objects = objects(&parameters()).unwrap();
        let named: Vec<_> = objects.iter().map(describe).collect();
        insta::assert_snapshot!(named.join("\n"));
        for object in &objects {
            let labels = object.metadata.labels.as_ref().unwrap();
            assert_eq!(labels[MANAGED_BY.0], MANAGED_BY.1, "{}", describe(object));
        }
    }

    #[test]
    fn parameters_leave_no_trace_of_what_they_replace() {
        let text = yaml(&objects(&parameters()).unwrap()).unwrap();
        for replaced in [IMAGE, "nfs-server", "/nfs/pv-storage"] {
            assert!(!text.contains(replaced), "{replaced} in {text}");
        }
        let containers = text.matches("image: registry.example/migbench:x").count();
        assert_eq!(containers, 2);
        assert!(text.contains("--verify-image=registry.example/migbench:x"));
    }

    #[test]
    fn the_files_name_the_image_of_this_version() {
        let defaults = Parameters {
            image: IMAGE.into(),
            nfs: None,
        };
        let text = yaml(&objects(&defaults).unwrap()).unwrap();
        assert_eq!(text.matches(IMAGE).count(), 3);
        assert!(!text.contains("PersistentVolume\n"));
    }

    #[test]
    fn the_installed_agent_is_the_one_that_a_run_would_start() {
        let values = read(&BASE).unwrap();
        let agent = values.iter().find(|value| value["kind"] == "DaemonSet").unwrap();
        let spec: PodSpec = serde_json::from_value(agent["spec"]["template"]["spec"].clone()).unwrap();
        assert_eq!(spec, agent::pod_spec(IMAGE));
    }
}
