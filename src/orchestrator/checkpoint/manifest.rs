//! The manifest that a checkpoint hook prints.

use std::path::{Component, Path};

use crate::{
    contract::workload::{Manifest, ManifestFile},
    orchestrator::failure::{Failure, Reason},
};

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
    let manifest = Manifest {
        directory: plain(&manifest.directory).ok_or_else(|| outside(&manifest.directory))?,
        files: manifest
            .files
            .into_iter()
            .map(plain_file)
            .collect::<Result<_, _>>()?,
        ..manifest
    };
    check(&manifest).map(|()| manifest)
}

fn plain_file(file: ManifestFile) -> Result<ManifestFile, Failure> {
    match plain(&file.path) {
        Some(path) if path != "." => Ok(ManifestFile { path, ..file }),
        _ => Err(outside(&file.path)),
    }
}

/// Check that there are files and every hash is one.
fn check(manifest: &Manifest) -> Result<(), Failure> {
    if manifest.files.is_empty() {
        return Err(invalid("it lists no files"));
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

/// A relative path without what says nothing, as in the `./a//b` that `find .` prints; none where it leads out.
fn plain(path: &str) -> Option<String> {
    let names = Path::new(path)
        .components()
        .filter(|component| *component != Component::CurDir);
    let names = names.map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    match names.collect::<Option<Vec<_>>>()?.join("/") {
        plain if plain.is_empty() => (!path.is_empty()).then(|| ".".to_owned()),
        plain => Some(plain),
    }
}

fn outside(path: &str) -> Failure {
    invalid(&format!("{path:?} is not a relative path below the mount"))
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
    fn paths_as_find_prints_them_are_below_the_mount() {
        let hash = "a0".repeat(32);
        for (directory, path) in [("./gen-7", "./gen-7/state"), ("gen-7/", "gen-7//./state")] {
            let read = parse(&manifest(directory, path, &hash)).unwrap();
            assert_eq!(
                (read.directory.as_str(), read.files[0].path.as_str()),
                ("gen-7", "gen-7/state")
            );
        }
        assert_eq!(parse(&manifest(".", "state", &hash)).unwrap().directory, ".");
        assert!(parse(&manifest("gen-7", "./", &hash)).is_err());
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
