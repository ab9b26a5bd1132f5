//! The image `migbench`: this very binary.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use sha2::{Digest, Sha256};

use super::path_with;

const NAME: &str = "migbench";

/// Digest and environment of the image; read once, for the binary may be replaced while it runs.
pub(super) fn installed() -> Option<(String, Vec<(String, String)>)> {
    static INSTALLED: OnceLock<Option<(String, PathBuf)>> = OnceLock::new();
    let found = INSTALLED.get_or_init(|| {
        let binary = locate(&std::env::current_exe().ok()?)?;
        let directory = binary.parent()?.to_path_buf();
        Some((digest(&binary).ok()?, directory))
    });
    let (digest, directory) = found.as_ref()?;
    Some((digest.clone(), vec![path_with(directory)]))
}

/// The executable itself, or the one beside or above a test program of another name.
fn locate(executable: &Path) -> Option<PathBuf> {
    executable
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(NAME))
        .find(|candidate| candidate.is_file())
}

fn digest(binary: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(binary)?, &mut hasher)?;
    Ok(format!("sha256:{:x}", hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_found_beside_and_above() {
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join(NAME);
        std::fs::write(&binary, "x").unwrap();
        assert_eq!(locate(&binary), Some(binary.clone()));
        assert_eq!(locate(&dir.path().join("deps/some_test-0123")), Some(binary));
        assert_eq!(locate(&dir.path().join("a/b/c")), None);
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
