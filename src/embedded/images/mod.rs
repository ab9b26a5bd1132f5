//! Images of the embedded cluster: a catalogue that maps an image name to a runtime on this host.
//!
//! | image | what its containers get | digest: SHA-256 over |
//! |---|---|---|
//! | `tensorflow/tensorflow:2.13.0` | a Python environment with TensorFlow for the CPU from a lock file, built once into the user's cache | Python's version and the hash of every installed file, from the wheels' `RECORD`s |
//! | `migbench`, `migbench:<this version>` | this binary on the `PATH` | the binary |
//!
//! Anything else is unknown; there is no substitute. To add an image, add it to `catalogue`.

mod binary;
mod build;
mod distribution;
mod environment;
mod fetch;
mod lock;
mod python;
mod site;
mod step;
mod variables;
mod wheel;

use std::path::PathBuf;

use environment::Environment;

/// How an image is to be built, as the user wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Means {
    /// The Python interpreter to build with, and no other.
    pub python: Option<PathBuf>,
    /// Use no network: what is needed lies on this host.
    pub offline: bool,
}

/// What a container of an image gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name as it was asked for.
    pub reference: String,
    /// What was found under that name, `sha256:…`.
    pub digest: String,
    /// Environment that the image brings, `PATH` included.
    pub env: Vec<(String, String)>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue does not have it: `ErrImagePull`.
    #[error("the embedded cluster has no image {reference:?}; it has {known}")]
    Unknown {
        /// The name as it was asked for.
        reference: String,
        /// The catalogue.
        known: String,
    },
    /// It is in the catalogue, and has to be pulled first.
    #[error("image {reference} has not been built on this host yet")]
    NotBuilt {
        /// The name as it was asked for.
        reference: String,
    },
    /// This host lacks what it is built with.
    #[error("image {reference} cannot be built here: {missing}")]
    Requirement {
        /// The name as it was asked for.
        reference: String,
        /// What is missing.
        missing: String,
        /// What to do about it.
        remedy: String,
    },
    /// Building it failed.
    #[error("image {reference}: {reason}")]
    Build {
        /// The name as it was asked for.
        reference: String,
        /// What was being done, and what it said.
        reason: String,
    },
}

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    /// What is being done, in a few words.
    pub phase: String,
    /// Bytes of downloads that lie on the disk at the moment, where that can be seen; what is fetched for nothing counts too.
    pub bytes: Option<u64>,
}

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Runtime {
    Python(Environment),
    Binary,
}

fn catalogue() -> Vec<(String, Runtime)> {
    vec![
        (
            "tensorflow/tensorflow:2.13.0".to_owned(),
            Runtime::Python(Environment::tensorflow()),
        ),
        ("migbench".to_owned(), Runtime::Binary),
        (format!("migbench:{}", env!("CARGO_PKG_VERSION")), Runtime::Binary),
    ]
}

fn runtime(reference: &str) -> Result<Runtime, Error> {
    let name = reference.strip_prefix("docker.io/").unwrap_or(reference);
    let catalogue = catalogue();
    match catalogue.iter().find(|(known, _)| known == name) {
        Some((_, runtime)) => Ok(runtime.clone()),
        None => Err(Error::Unknown {
            reference: reference.to_owned(),
            known: catalogue
                .into_iter()
                .map(|(known, _)| known)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// The image of that name, if it is there.
pub fn lookup(reference: &str) -> Result<Image, Error> {
    let found = match runtime(reference)? {
        Runtime::Python(environment) => environment.installed(),
        Runtime::Binary => Some(binary::installed().map_err(|error| Error::Requirement {
            reference: reference.to_owned(),
            missing: format!("this program cannot be found under the name migbench: {error}"),
            remedy: "name its file migbench, or set XDG_CACHE_HOME to a directory of yours".to_owned(),
        })?),
    };
    let (digest, env) = found.ok_or_else(|| Error::NotBuilt {
        reference: reference.to_owned(),
    })?;
    Ok(Image {
        reference: reference.to_owned(),
        digest,
        env,
    })
}

/// The image of that name; built if it is not there, or not by the interpreter that `means` names. Two pulls of one image
/// at a time build it once. Dropping the future ends the build, and nothing is left of it.
pub async fn pull(
    reference: &str,
    means: &Means,
    progress: impl Fn(PullProgress) + Send + Sync,
) -> Result<Image, Error> {
    if let Runtime::Python(environment) = runtime(reference)? {
        build::build(&environment, reference, means, &progress).await?;
    }
    lookup(reference)
}

/// Value of `PATH` with a directory before the usual ones.
fn path_with(first: &std::path::Path) -> (String, String) {
    let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    ("PATH".to_owned(), format!("{}:{usual}", first.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_image_has_no_substitute() {
        for reference in [
            "tensorflow/tensorflow",
            "tensorflow/tensorflow:2.14.0",
            "migbench:0.0.0",
            "nginx",
        ] {
            let error = lookup(reference).unwrap_err();
            assert!(matches!(error, Error::Unknown { .. }), "{reference}: {error}");
        }
    }

    #[test]
    fn the_registrys_host_may_be_named() {
        let full = runtime("docker.io/tensorflow/tensorflow:2.13.0").unwrap();
        assert_eq!(full, runtime("tensorflow/tensorflow:2.13.0").unwrap());
    }

    #[tokio::test]
    async fn pulling_what_is_unknown_fails_at_once() {
        let nothing = |_| unreachable!("nothing to do");
        assert!(matches!(
            pull("nginx", &Means::default(), nothing).await,
            Err(Error::Unknown { .. })
        ));
    }
}
