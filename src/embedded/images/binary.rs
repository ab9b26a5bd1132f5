//! The image `migbench`: this very binary.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::contract::workload;

use super::path_with;

const NAME: &str = "migbench";

/// Digest and environment of the image; read once, for the binary may be replaced while it runs.
///
/// # Errors
/// The program has another name, and the cache holds no link to it under the right one and takes none.
pub(super) fn installed() -> io::Result<(String, Vec<(String, String)>)> {
    static INSTALLED: OnceLock<(String, PathBuf)> = OnceLock::new();
    if INSTALLED.get().is_none() {
        let program = program(&std::env::current_exe()?);
        let digest = digest(&program)?;
        let directory = directory(&program, &digest, super::environment::cache())?;
        INSTALLED.get_or_init(|| (digest, directory));
    }
    let found = INSTALLED.get();
    let (digest, directory) = found.ok_or_else(|| io::Error::other("the program was not read"))?;
    Ok((digest.clone(), vec![path_with(directory)]))
}

/// The executable itself; of one of cargo's test programs, in `deps`, the program above.
fn program(executable: &Path) -> PathBuf {
    let above = executable
        .parent()
        .filter(|directory| directory.ends_with("deps"))
        .and_then(|directory| Some(directory.parent()?.join(NAME)))
        .filter(|program| program.is_file());
    above.unwrap_or_else(|| executable.to_path_buf())
}

/// A directory in which the program is found as `migbench`: its own, or, where it was downloaded under another name, one in
/// the cache that links to it.
fn directory(program: &Path, digest: &str, cache: Option<PathBuf>) -> io::Result<PathBuf> {
    if let (Some(directory), Some(NAME)) = (program.parent(), program.file_name().and_then(OsStr::to_str)) {
        return Ok(directory.to_path_buf());
    }
    let cache = cache.ok_or_else(|| io::Error::other("there is no cache directory"))?;
    let directory = cache.join("bin").join(digest.trim_start_matches("sha256:"));
    let link = directory.join(NAME);
    if fs::read_link(&link).is_ok_and(|target| target == program) {
        return Ok(directory);
    }
    fs::create_dir_all(&directory)?;
    // Another process of this program may be making the same link: it takes its place in one step.
    let made = directory.join(format!("{NAME}.{}", std::process::id()));
    symlink(program, &made)?;
    fs::rename(&made, &link)?;
    Ok(directory)
}

fn digest(binary: &Path) -> io::Result<String> {
    let (_, hash) = workload::digest(File::open(binary)?)?;
    Ok(format!("sha256:{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_stands_for_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        let (above, test) = (dir.path().join(NAME), dir.path().join("deps/some_test-0123"));
        assert_eq!(program(&test), test);
        fs::write(&above, "x").unwrap();
        assert_eq!(program(&test), above);
        let other = dir.path().join("migbench-x86_64");
        assert_eq!(program(&other), other);
    }

    #[test]
    fn another_name_is_linked_to() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let at = |name: &str| directory(&dir.path().join(name), "sha256:abc", Some(cache.clone())).unwrap();
        assert_eq!(at(NAME), dir.path());
        assert!(!cache.exists());
        for name in ["migbench-x86_64", "migbench-x86_64", "mb"] {
            let linked = fs::read_link(at(name).join(NAME)).unwrap();
            assert_eq!(linked, dir.path().join(name));
        }
        assert_eq!(fs::read_dir(cache.join("bin/abc")).unwrap().count(), 1);
        assert!(directory(&dir.path().join("mb"), "sha256:abc", None).is_err());
    }

    #[test]
    fn the_digest_is_that_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join(NAME);
        std::fs::write(&binary, "abc").unwrap();
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(&binary).unwrap(), expected);
    }
}
