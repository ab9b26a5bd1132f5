//! `migbench image save`: the archive is an OCI image, a docker archive too, and its program runs from it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::Path,
    process::{Command, Output},
};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn save(file: &Path, arguments: &[&str]) -> Output {
    Command::new(cargo_bin("migbench"))
        .args(["image", "save"])
        .arg(file)
        .args(arguments)
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The files of an image archive by their paths.
fn files(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(File::open(archive).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    });
    entries.collect()
}

/// What a descriptor points at, its size and digest checked.
fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
    let hex = descriptor["digest"]
        .as_str()
        .unwrap()
        .strip_prefix("sha256:")
        .unwrap();
    let bytes = &files[&format!("blobs/sha256/{hex}")];
    assert_eq!(bytes.len() as u64, descriptor["size"].as_u64().unwrap());
    assert_eq!(format!("{:x}", Sha256::digest(bytes)), hex);
    bytes
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn the_archive_is_an_image_whose_program_runs() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("m.tar");
    let output = save(&archive, &["--name", "registry.example/migbench:7"]);
    assert!(output.status.success(), "{}", told(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("kind load image-archive")
            && said.contains("deploy --context NAME --image registry.example/migbench:7"),
        "{said}"
    );

    let files = files(&archive);
    let index = json(&files["index.json"]);
    let named = &index["manifests"][0];
    assert_eq!(
        named["annotations"]["io.containerd.image.name"],
        "registry.example/migbench:7"
    );
    let manifest = json(blob(&files, named));
    let config = json(blob(&files, &manifest["config"]));
    let layer = blob(&files, &manifest["layers"][0]);
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    assert_eq!(config["config"]["User"], "65532:65532");
    let docker = json(&files["manifest.json"]);
    assert_eq!(docker[0]["RepoTags"][0], "registry.example/migbench:7");
    for path in [&docker[0]["Config"], &docker[0]["Layers"][0]] {
        assert!(files.contains_key(path.as_str().unwrap()), "{path}");
    }

    let root = directory.path().join("root");
    tar::Archive::new(layer).unpack(&root).unwrap();
    assert!(
        fs::read_to_string(root.join("etc/passwd"))
            .unwrap()
            .contains(":65532:")
    );
    assert_eq!(
        version_by_the_images_own_loader(&root),
        format!("migbench {}\n", env!("CARGO_PKG_VERSION"))
    );
}

/// Without the host's libraries, and without the rights that a `chroot` needs.
fn version_by_the_images_own_loader(root: &Path) -> String {
    let loader = fs::read_dir(root.join("lib64")).or_else(|_| fs::read_dir(root.join("lib")));
    let program = root.join("usr/bin/migbench");
    let mut command = match loader {
        Ok(mut found) => {
            let mut command = Command::new(found.next().unwrap().unwrap().path());
            let libraries = root.join("usr/lib/migbench");
            command
                .args(["--inhibit-cache", "--library-path"])
                .arg(libraries)
                .arg(program);
            command
        }
        // Static.
        Err(_) => Command::new(program),
    };
    let output = command.arg("--version").env_clear().output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn equal_programs_make_equal_archives() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["one.tar", "other.tar"].map(|name| directory.path().join(name));
    for archive in [&one, &other] {
        assert!(save(archive, &[]).status.success());
    }
    assert!(fs::read(one).unwrap() == fs::read(other).unwrap());
}

#[test]
fn what_cannot_be_saved_is_told_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing/m.tar");
    let output = save(&missing, &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        told(&output).contains("missing/m.tar cannot be written: No such file or directory"),
        "{}",
        told(&output)
    );
    let output = save(&directory.path().join("m.tar"), &["--name", "migbench:latest"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told(&output).contains("name a tag other than latest"),
        "{}",
        told(&output)
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
