//! Containers and pods are found in the cgroup trees of the usual nodes: `tests/cgroups/*.txt`, one directory a line.

use std::{fs, path::Path};

use migbench::{
    record::reading::ContainerRef,
    sample::{locate, mounts::Mounts},
};

/// Make the tree of a file below `root`; the lines that say what must be found where.
fn plant<'a>(text: &'a str, root: &Path) -> Vec<[&'a str; 3]> {
    let mut wanted = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("! ") {
            Some(found) => wanted.push(found.split(' ').collect::<Vec<_>>().try_into().unwrap()),
            None => fs::create_dir_all(root.join(line)).unwrap(),
        }
    }
    wanted
}

fn reference(what: &str, id: &str) -> ContainerRef {
    match what {
        "pod" => ContainerRef::of_pod("pod", id, "node"),
        _ => ContainerRef {
            container: "trainer".into(),
            container_id: id.into(),
            ..ContainerRef::of_pod("pod", "uid", "node")
        },
    }
}

#[test]
fn every_tree_has_what_it_says() {
    let mut trees = 0;
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cgroups")).unwrap() {
        let path = entry.unwrap().path();
        let (text, root) = (fs::read_to_string(&path).unwrap(), tempfile::tempdir().unwrap());
        let mounts = Mounts {
            v2: Some(root.path().into()),
            ..Mounts::default()
        };
        for [what, id, place] in plant(&text, root.path()) {
            let found = locate::find(&mounts, &reference(what, id));
            let found = found.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(found.v2, Some(root.path().join(place)), "{}", path.display());
        }
        trees += 1;
    }
    assert!(trees >= 7, "{trees} trees");
}
