//! Lock files: the wheels of an environment with their hashes, so that pip does not search and two machines get the
//! same. `.ci/locks` writes them.

use sha2::{Digest, Sha256};

/// The wheels for one Python on one architecture, as requirements that every pip can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lock {
    /// Minor version of Python 3.
    pub(super) minor: u32,
    /// Architecture, as Rust and Python call it.
    pub(super) machine: &'static str,
    /// The file.
    pub(super) text: &'static str,
}

macro_rules! lock {
    ($minor:literal, $machine:literal) => {
        Lock {
            minor: $minor,
            machine: $machine,
            text: include_str!(concat!("locks/3.", $minor, "-", $machine, ".txt")),
        }
    };
}

/// TensorFlow 2.13.0 for the CPU.
pub(super) const TENSORFLOW: &[Lock] = &[
    lock!(8, "x86_64"),
    lock!(9, "x86_64"),
    lock!(10, "x86_64"),
    lock!(11, "x86_64"),
    lock!(8, "aarch64"),
    lock!(9, "aarch64"),
    lock!(10, "aarch64"),
    lock!(11, "aarch64"),
];

/// pip, for a Python that comes without.
pub(super) const PIP: &str = include_str!("locks/pip.txt");

/// uv, which fetches a Python.
pub(super) fn uv(machine: &str) -> Option<&'static str> {
    match machine {
        "x86_64" => Some(include_str!("locks/uv-x86_64.txt")),
        "aarch64" => Some(include_str!("locks/uv-aarch64.txt")),
        _ => None,
    }
}

impl Lock {
    /// How much there is to download, in bytes, where the file says it.
    pub(super) fn download(&self) -> Option<u64> {
        self.text.strip_prefix("# ")?.split(' ').next()?.parse().ok()
    }

    /// Which wheels they are, in one word.
    pub(super) fn digest(&self) -> String {
        format!("sha256:{:x}", Sha256::digest(self.text))
    }
}

/// Hashes in a lock file, in hexadecimal digits.
pub(super) fn hashes(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
        .filter_map(|word| word.strip_prefix("--hash=sha256:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lock_pins_tensorflow_and_hashes_every_wheel() {
        for lock in TENSORFLOW {
            let whole = match lock.machine {
                "x86_64" => "tensorflow-cpu==2.13.0",
                _ => "tensorflow==2.13.0",
            };
            let requirements: Vec<_> = lock.text.lines().filter(|line| line.contains("==")).collect();
            assert!(requirements.len() > 30, "{lock:?}");
            assert!(
                requirements.iter().any(|line| line.starts_with(whole)),
                "3.{} {} lacks {whole}",
                lock.minor,
                lock.machine
            );
            // A requirement, a backslash, its hashes: pip refuses the whole file where one has none.
            for requirement in lock.text.replace("\\\n", "").lines().skip(1) {
                assert!(hashes(requirement).all(|hash| hash.len() == 64));
                assert_ne!(hashes(requirement).count(), 0, "{requirement}");
            }
            assert!(lock.download() > Some(200_000_000));
        }
    }

    #[test]
    fn there_is_one_for_each_python_and_architecture() {
        for machine in ["x86_64", "aarch64"] {
            let minors = |lock: &&Lock| lock.machine == machine;
            let minors: Vec<_> = TENSORFLOW.iter().filter(minors).map(|lock| lock.minor).collect();
            assert_eq!(minors, [8, 9, 10, 11]);
            assert_eq!(hashes(uv(machine).unwrap()).count(), 1);
        }
        assert_eq!(hashes(PIP).count(), 1);
        assert_eq!(uv("pdp11"), None);
    }
}
