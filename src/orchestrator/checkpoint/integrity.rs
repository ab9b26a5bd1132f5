//! Checking a checkpoint from the mount of the node that shall restore it: every file, its size and its SHA-256.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use backon::{ConstantBuilder, Retryable};
use serde::{Deserialize, Serialize};

use super::beneath::{self, Amiss};
use crate::{
    contract::workload::{Manifest, ManifestFile, digest},
    orchestrator::failure::{Failure, Reason},
};

/// Time between two looks at a volume on which something is still missing.
const PAUSE: Duration = Duration::from_millis(500);

/// What is to be checked on one mount.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Where the volume is mounted.
    pub root: PathBuf,
    /// Checkpoints on it.
    pub manifests: Vec<Manifest>,
    /// Other paths that must exist, absolute.
    pub required: Vec<PathBuf>,
}

/// What was found in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Files whose hashes were compared.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The one line that the init container prints when something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Named reason.
    pub reason: Reason,
    /// What is wrong, with the path.
    pub message: String,
    /// Every output that is missing, absolute paths, if nothing else is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
}

impl From<Failure> for Finding {
    fn from(Failure { reason, message }: Failure) -> Self {
        Self {
            reason,
            message,
            outputs: Vec::new(),
        }
    }
}

/// Check everything; what is missing is looked for again until `patience` has passed.
///
/// A network file system may hold on for a while to the knowledge that a file does not exist (NFS: `acdirmin`, 30 s), so
/// missing is not final. Wrong content is: a file is looked up anew when it is opened.
///
/// # Errors
/// The first file that is missing or wrong, or every output that is missing.
pub async fn verify(expectation: Expectation, patience: Duration) -> Result<Verified, Finding> {
    let attempts = patience.as_millis() / PAUSE.as_millis();
    let pauses = ConstantBuilder::default()
        .with_delay(PAUSE)
        .with_max_times(usize::try_from(attempts).unwrap_or(usize::MAX));
    let look = || {
        let expectation = expectation.clone();
        async move {
            tokio::task::spawn_blocking(move || check(&expectation))
                .await
                .unwrap_or_else(|error| {
                    Err(Failure::new(Reason::VerificationFailed, error.to_string()).into())
                })
        }
    };
    look.retry(pauses)
        .when(|finding| finding.reason != Reason::CheckpointCorrupt)
        .await
}

fn check(expectation: &Expectation) -> Result<Verified, Finding> {
    let mut verified = Verified::default();
    for file in expectation.manifests.iter().flat_map(|manifest| &manifest.files) {
        check_file(&expectation.root, file)?;
        verified.files += 1;
        verified.bytes += file.size;
    }
    let mut outputs = Vec::new();
    let mut told = Vec::new();
    for path in &expectation.required {
        let below = path
            .strip_prefix(&expectation.root)
            .map_err(|_| Amiss::Other("is not below the mount"));
        if let Err(amiss) = below.and_then(|below| beneath::exists(&expectation.root, below)) {
            let path = path.display().to_string();
            told.push(format!("output {path}: {amiss}"));
            outputs.push(path);
        }
    }
    if outputs.is_empty() {
        return Ok(verified);
    }
    Err(Finding {
        reason: Reason::OutputsMissing,
        message: told.join("; "),
        outputs,
    })
}

fn check_file(root: &Path, file: &ManifestFile) -> Result<(), Failure> {
    let path = Path::new(&file.path);
    let finding = |reason, what: String| {
        let path = root.join(path);
        Failure::new(reason, format!("{}: {what}", path.display()))
    };
    let missing = |error: io::Error| finding(Reason::CheckpointMissing, error.to_string());
    let opened = beneath::file(root, path).map_err(|amiss| match amiss {
        Amiss::Absent(error) => missing(error),
        Amiss::Other(_) => finding(Reason::CheckpointCorrupt, amiss.to_string()),
    })?;
    let size = opened.metadata().map_err(missing)?.len();
    if size != file.size {
        let what = format!("has {size} bytes, the manifest says {}", file.size);
        return Err(finding(Reason::CheckpointCorrupt, what));
    }
    let (_, hash) = digest(&opened).map_err(missing)?;
    if hash != file.sha256 {
        let what = format!("has SHA-256 {hash}, the manifest says {}", file.sha256);
        return Err(finding(Reason::CheckpointCorrupt, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc`: FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn expecting(root: &Path, path: &str) -> Expectation {
        let file = ManifestFile {
            path: path.into(),
            size: 3,
            sha256: ABC.into(),
        };
        let manifest = Manifest {
            step: 1,
            epoch: None,
            directory: "gen".into(),
            files: vec![file],
            timings: None,
        };
        Expectation {
            root: root.into(),
            manifests: vec![manifest],
            required: Vec::new(),
        }
    }

    fn volume(content: &str) -> tempfile::TempDir {
        let volume = tempfile::tempdir().unwrap();
        std::fs::create_dir(volume.path().join("gen")).unwrap();
        std::fs::write(volume.path().join("gen/state"), content).unwrap();
        volume
    }

    fn reason(expectation: &Expectation) -> Reason {
        check(expectation).unwrap_err().reason
    }

    #[test]
    fn an_intact_checkpoint_is_counted() {
        let volume = volume("abc");
        let verified = check(&expecting(volume.path(), "gen/state")).unwrap();
        assert_eq!(verified, Verified { files: 1, bytes: 3 });
    }

    #[test]
    fn a_flipped_byte_and_a_truncated_file_are_corrupt() {
        for content in ["abd", "ab", "abcd"] {
            let volume = volume(content);
            assert_eq!(
                reason(&expecting(volume.path(), "gen/state")),
                Reason::CheckpointCorrupt,
                "{content}"
            );
        }
    }

    #[test]
    fn absent_files_and_outputs_are_missing() {
        let volume = volume("abc");
        assert_eq!(
            reason(&expecting(volume.path(), "gen/other")),
            Reason::CheckpointMissing
        );
        let mut outputs = expecting(volume.path(), "gen/state");
        for name in ["data.bin", "gen/state", "more.bin"] {
            outputs.required.push(volume.path().join(name));
        }
        let finding = check(&outputs).unwrap_err();
        let missing = ["data.bin", "more.bin"].map(|name| volume.path().join(name).display().to_string());
        assert_eq!(
            (finding.reason, finding.outputs.as_slice()),
            (Reason::OutputsMissing, &missing[..])
        );
    }

    #[test]
    fn nothing_outside_of_the_mount_is_opened() {
        let volume = volume("abc");
        let below = volume.path().join("gen");
        assert_eq!(
            reason(&expecting(&below, "../gen/state")),
            Reason::CheckpointCorrupt
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_appears_late_is_found() {
        let volume = volume("abc");
        let (state, hidden) = (volume.path().join("gen/state"), volume.path().join("gen/hidden"));
        std::fs::rename(&state, &hidden).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            std::fs::rename(&hidden, &state).unwrap();
        });
        let found = verify(expecting(volume.path(), "gen/state"), Duration::from_secs(30)).await;
        assert_eq!(found, Ok(Verified { files: 1, bytes: 3 }));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let volume = volume("abc");
        let found = verify(expecting(volume.path(), "gen/other"), Duration::from_secs(30)).await;
        assert_eq!(found.unwrap_err().reason, Reason::CheckpointMissing);
    }
}
