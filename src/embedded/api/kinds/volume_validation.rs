//! What makes the volumes of a pod invalid.

use std::{
    collections::BTreeSet,
    path::{Component, Path},
};

use k8s_openapi::api::core::v1::{KeyToPath, Volume};
use serde_json::{Value, json};

use super::value_validation::name;
use crate::embedded::api::status::Cause;

/// Everything wrong with them, and the names of those that are right.
pub(super) fn causes(volumes: &[Volume]) -> (Vec<Cause>, BTreeSet<&str>) {
    let (mut seen, mut usable) = (BTreeSet::new(), BTreeSet::new());
    let mut causes = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let field = format!("spec.volumes[{index}]");
        let mut wrong = source(&field, volume);
        wrong.extend(name(&format!("{field}.name"), &volume.name, &mut seen));
        if wrong.is_empty() {
            usable.insert(volume.name.as_str());
        }
        causes.extend(wrong);
    }
    (causes, usable)
}

/// The first source counts, in the server's order of those that are known here; there may be no second.
fn source(field: &str, volume: &Volume) -> Vec<Cause> {
    let sources = json!(volume);
    let first = ["emptyDir", "persistentVolumeClaim", "configMap"].into_iter();
    let others = sources
        .as_object()
        .into_iter()
        .flatten()
        .map(|(source, _)| source.as_str());
    let mut present: Vec<&str> = first.filter(|source| sources.get(source).is_some()).collect();
    let others: Vec<&str> = others
        .filter(|source| *source != "name" && !present.contains(source))
        .collect();
    present.extend(others);
    let rule = "may not specify more than 1 volume type";
    let second = present.iter().skip(1);
    let mut causes: Vec<_> = second
        .map(|source| Cause::forbidden(format!("{field}.{source}"), rule))
        .collect();
    match present.first() {
        Some(&"persistentVolumeClaim") => {
            causes.extend(named(&sources, field, "persistentVolumeClaim", "claimName"));
        }
        Some(&"configMap") => {
            causes.extend(named(&sources, field, "configMap", "name"));
            causes.extend(files(&format!("{field}.configMap"), volume));
        }
        _ => {}
    }
    causes
}

fn named(sources: &Value, field: &str, source: &str, key: &str) -> Option<Cause> {
    let missing = sources[source][key].as_str().is_none_or(str::is_empty);
    missing.then(|| Cause::required(format!("{field}.{source}.{key}"), ""))
}

fn files(field: &str, volume: &Volume) -> Vec<Cause> {
    let Some(map) = &volume.config_map else {
        return Vec::new();
    };
    let mut causes = Vec::from_iter(mode(&format!("{field}.defaultMode"), map.default_mode));
    for (
        index,
        KeyToPath {
            key, path, mode: own, ..
        },
    ) in map.items.iter().flatten().enumerate()
    {
        let field = format!("{field}.items[{index}]");
        if key.is_empty() {
            causes.push(Cause::required(format!("{field}.key"), ""));
        }
        let place = format!("{field}.path");
        if path.is_empty() {
            causes.push(Cause::required(place, ""));
        } else if path.starts_with("..") && !climbs(path) {
            causes.push(Cause::invalid(place, &json!(path), "must not start with '..'"));
        } else {
            causes.extend(descending(&place, path));
        }
        causes.extend(mode(&format!("{field}.mode"), *own));
    }
    causes
}

fn mode(field: &str, mode: Option<i32>) -> Option<Cause> {
    let mode = mode.filter(|mode| !(0..=0o777).contains(mode))?;
    let rule = "must be a number between 0 and 0777 (octal), both inclusive";
    Some(Cause::invalid(field, &json!(mode), rule))
}

/// What is wrong with a path that must lead further down.
pub(super) fn descending(field: &str, path: &str) -> Vec<Cause> {
    let problem = |rule| Cause::invalid(field, &json!(path), rule);
    let absolute = path.starts_with('/').then(|| problem("must be a relative path"));
    let climbing = climbs(path).then(|| problem("must not contain '..'"));
    absolute.into_iter().chain(climbing).collect()
}

fn climbs(path: &str) -> bool {
    Path::new(path)
        .components()
        .any(|part| part == Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(volumes: &Value) -> Vec<String> {
        let volumes: Vec<Volume> = serde_json::from_value(volumes.clone()).unwrap();
        causes(&volumes).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_volume_has_one_source() {
        let two = json!([{"name": "a", "emptyDir": {}, "configMap": {"name": "c"}}]);
        assert_eq!(
            said(&two),
            ["spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type"]
        );
        let twice = json!([{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]);
        assert_eq!(said(&twice), ["spec.volumes[1].name: Duplicate value: \"a\""]);
        let nameless = json!([{"name": "a", "persistentVolumeClaim": {"claimName": ""}}]);
        assert_eq!(
            said(&nameless),
            ["spec.volumes[0].persistentVolumeClaim.claimName: Required value"]
        );
    }

    #[test]
    fn files_lie_in_their_volume() {
        let item = |path: &str| json!([{"name": "a", "configMap": {"name": "c", "items": [{"key": "k", "path": path, "mode": 0o1777}]}}]);
        for (path, rule) in [
            ("/x", "must be a relative path"),
            ("a/../x", "must not contain '..'"),
            ("..x", "must not start with '..'"),
        ] {
            let expected = [
                format!("spec.volumes[0].configMap.items[0].path: Invalid value: \"{path}\": {rule}"),
                "spec.volumes[0].configMap.items[0].mode: Invalid value: 1023: must be a number between 0 and 0777 \
                 (octal), both inclusive"
                    .to_owned(),
            ];
            assert_eq!(said(&item(path)), expected);
        }
    }
}
