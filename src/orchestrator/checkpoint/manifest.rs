//! The manifest that a checkpoint hook prints.

use std::path::{Component, Path};

use crate::{
    contract::workload::Manifest,
    orchestrator::failure::{Failure, Reason},
};

/// Longest manifest as JSON, bytes. The kernel limits one environment variable to 128 KiB, and that is how the init
/// container gets it.
const LONGEST: usize = 100 * 1024;

/// The manifest in a hook's output: all of it, or its last line for hooks that print something before.
///
/// # Errors
/// The output holds no manifest, or one that must not be followed.
pub fn parse(output: &str) -> Result<Manifest, Failure> {
    let output = output.trim();
    let last = output.lines().next_back().unwrap_or_default();
    let manifest = serde_json::from_str::<Manifest>(output)
        .or_else(|_| serde_json::from_str(last))
        .map_err(|error| invalid(&format!("the hook printed no manifest: {error}")))?;
    check(&manifest)?;
    if serde_json::to_string(&manifest).map_or(0, |json| json.len()) > LONGEST {
        let files = manifest.files.len();
        return Err(invalid(&format!(
            "{files} files are too many (more than {LONGEST} bytes of JSON)"
        )));
    }
    Ok(manifest)
}

/// Check that every path stays below the mount and every hash is one.
fn check(manifest: &Manifest) -> Result<(), Failure> {
    if manifest.files.is_empty() {
        return Err(invalid("it lists no files"));
    }
    let paths = manifest.files.iter().map(|file| &file.path);
    if let Some(path) = paths.chain([&manifest.directory]).find(|path| !is_below(path)) {
        return Err(invalid(&format!(
            "{path:?} is not a relative path below the mount"
        )));
    }
    let lower_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let bad_hash = |hash: &str| hash.len() != 64 || !hash.chars().all(lower_hex);
    match manifest.files.iter().find(|file| bad_hash(&file.sha256)) {
        Some(file) => Err(invalid(&format!(
            "the hash of {} is not 64 lower-case hex digits",
            file.path
        ))),
        None => Ok(()),
    }
}

/// Whether a path consists of plain names only.
pub fn is_below(path: &str) -> bool {
    let mut components = Path::new(path).components().peekable();
    components.peek().is_some() && components.all(|component| matches!(component, Component::Normal(_)))
}

fn invalid(why: &str) -> Failure {
    Failure::new(Reason::ManifestInvalid, format!("checkpoint manifest: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(directory: &str, path: &str, sha256: &str) -> String {
        json!({"step": 7, "directory": directory, "files": [{"path": path, "size": 1, "sha256": sha256}]})
            .to_string()
    }

    fn good() -> String {
        manifest("gen-7", "gen-7/state", &"a0".repeat(32))
    }

    #[test]
    fn a_manifest_alone_or_after_other_output() {
        assert_eq!(parse(&good()).unwrap().step, 7);
        assert_eq!(parse(&format!("warming up\n{}\n", good())).unwrap().step, 7);
    }

    #[test]
    fn a_manifest_over_several_lines() {
        let pretty: serde_json::Value = serde_json::from_str(&good()).unwrap();
        assert_eq!(parse(&format!("{pretty:#}")).unwrap().step, 7);
    }

    #[test]
    fn paths_must_stay_below_the_mount() {
        let hash = "a0".repeat(32);
        for (directory, path) in [
            ("gen-7", "/etc/passwd"),
            ("gen-7", "gen-7/../../x"),
            ("gen-7", ""),
            ("..", "gen-7/state"),
            ("/gen-7", "gen-7/state"),
        ] {
            let failure = parse(&manifest(directory, path, &hash)).unwrap_err();
            assert_eq!(failure.reason, Reason::ManifestInvalid, "{directory} {path}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for output in ["", "saved", "{}", r#"{"step":1,"directory":"d","files":[]}"#] {
            assert_eq!(
                parse(output).unwrap_err().reason,
                Reason::ManifestInvalid,
                "{output:?}"
            );
        }
        assert!(parse(&manifest("d", "d/x", &"A0".repeat(32))).is_err());
        assert!(parse(&manifest("d", "d/x", "a0")).is_err());
    }
}
