//! The checkpoint volume at another place in the containers than the manifest says.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::{Error, check_settings::Settings};
use crate::k8s::pod;

const KEY: &str = "/checkpointMount";

/// The pod with its checkpoint volume mounted where the settings want it. Whatever names the old path (mounts below it,
/// commands, arguments, variables, hooks) names the new one.
pub(super) fn placed(pod: Pod, settings: &Settings<'_>) -> Result<Pod, Error> {
    let Some(wanted) = &settings.file.checkpoint_mount else {
        return Ok(pod);
    };
    let mounts = mounts(&pod, &settings.file.checkpoint_volume);
    let mut mounts = mounts.iter();
    let (from, to) = match (mounts.next(), mounts.next()) {
        (Some(from), None) if from == "/" => {
            return Err(settings.error(KEY, "the pod mounts the volume at /, which every path names"));
        }
        (Some(from), None) => (from.trim_end_matches('/'), wanted.trim_end_matches('/')),
        (Some(one), Some(other)) => {
            let message =
                format!("the pod mounts the volume at {one} and at {other}: only one place can be changed");
            return Err(settings.error(KEY, &message));
        }
        // That nothing mounts it is told of the container that should.
        (None, _) => return Ok(pod),
    };
    let unread = |error: serde_json::Error| settings.error(KEY, &error.to_string());
    let mut tree = serde_json::to_value(&pod).map_err(unread)?;
    for part in ["/spec", "/metadata/annotations"] {
        if let Some(part) = tree.pointer_mut(part) {
            rewrite(part, from, to);
        }
    }
    serde_json::from_value(tree).map_err(unread)
}

fn mounts(pod: &Pod, volume: &str) -> BTreeSet<String> {
    let containers = pod.spec.iter().flat_map(pod::specified);
    let mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
    mounts
        .filter(|mount| mount.name == volume)
        .map(|mount| mount.mount_path.clone())
        .collect()
}

fn rewrite(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) => *text = moved(text, from, to),
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, from, to)),
        Value::Object(entries) => entries.values_mut().for_each(|value| rewrite(value, from, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `text` with `to` for each mention of the path `from` itself or of something below it: not where it is a part of another
/// path or of a longer name.
fn moved(text: &str, from: &str, to: &str) -> String {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let (mut moved, mut copied) = (String::new(), 0);
    for (start, _) in text.match_indices(from) {
        let end = start + from.len();
        let before = text[..start].chars().next_back();
        let after = text[end..].chars().next();
        let begins = before.is_none_or(|c| !is_name(c) && !matches!(c, '/' | ')' | '}'));
        if begins && after.is_none_or(|c| !is_name(c)) {
            moved.push_str(&text[copied..start]);
            moved.push_str(to);
            copied = end;
        }
    }
    moved.push_str(&text[copied..]);
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn only_the_path_itself_and_what_is_below_it_is_moved() {
        for (text, expected) in [
            ("/ck", "/new"),
            ("--data=/ck/data", "--data=/new/data"),
            (
                r#"["hook", "--dir", "/ck/a", "--mount", "/ck"]"#,
                r#"["hook", "--dir", "/new/a", "--mount", "/new"]"#,
            ),
            ("cp /ck/a /ck/b;cat /ck", "cp /new/a /new/b;cat /new"),
            (
                "/ck-2/a /ckpt /data/ck $(ROOT)/ck registry/ck:1",
                "/ck-2/a /ckpt /data/ck $(ROOT)/ck registry/ck:1",
            ),
        ] {
            assert_eq!(moved(text, "/ck", "/new"), expected);
        }
    }

    #[test]
    fn every_scenario_can_have_its_checkpoints_elsewhere() {
        for (name, workload) in [
            ("smoke", "builtin"),
            ("tensorflow", "builtin"),
            ("tensorflow", "tensorflow"),
        ] {
            let set = ["checkpointMount=/checkpoints/".to_owned()];
            let moved = Scenario::load(name, Some(workload), &set).unwrap().pod;
            let text = serde_json::to_string(&moved).unwrap();
            assert!(!text.contains("/migration-checkpoint"), "{text}");
            assert_eq!(mounts(&moved, "checkpoints"), ["/checkpoints".to_owned()].into());
            assert!(text.contains(r#"\"--mount\", \"/checkpoints\""#), "{text}");
        }
    }
}
