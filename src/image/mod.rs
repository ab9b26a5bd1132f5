//! This very program as a container image, for clusters that can pull it from no registry: packed by the program itself,
//! without an engine, a registry or a second build.
//!
//! `contents` says what is in it, `libraries` what a program that is not static needs, `archive` writes the file,
//! [`name`] is what the nodes know it by, and [`delivery`] how it comes to them.

mod archive;
mod contents;
pub mod delivery;
mod libraries;
pub mod name;

use std::{io, path::Path};

use name::Name;

/// Why an image cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of this host that belongs into it.
    #[error("{what}: {source}")]
    Read {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The archive.
    #[error("{file} cannot be written: {source}")]
    Write {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The loader does not tell which libraries the program needs.
    #[error("{loader} does not list this program's libraries: {reason}")]
    Libraries {
        /// The loader that the program names.
        loader: String,
        /// What it said.
        reason: String,
    },
}

/// An image that was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Size of the archive in bytes.
    pub bytes: u64,
    /// Digest of the image's manifest, as in `sha256:…`.
    pub digest: String,
    /// Operating system and architecture, as in `linux/amd64`.
    pub platform: String,
    /// Libraries that were taken along, the loader included; 0 for a static program.
    pub libraries: usize,
    /// Whether certificates of public authorities are in it.
    pub certificates: bool,
}

/// Pack this program as the image `name` into `file`, which is replaced when all of the new one has been written. Equal
/// programs on equal hosts make equal files.
pub fn save(file: &Path, name: &Name) -> Result<Saved, Error> {
    let contents = contents::of_this_program()?;
    archive::write(file, name, &contents)
}
