//! Files that others read, or that must outlive their node.

use std::{
    fs::{self, File},
    path::Path,
};

use super::Error;

/// Write a file under a name of its own and then give it its place, so that no reader sees half of it. The process's id
/// would not do for the name: in two pods that share a volume it is 1.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), Error> {
    let partial = path.with_extension(format!("partial-{}", uuid::Uuid::new_v4().simple()));
    let written = fs::write(&partial, content)
        .map_err(Error::at(&partial))
        .and_then(|()| fs::rename(&partial, path).map_err(Error::at(path)));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Wait until a file or directory is on the volume.
pub(crate) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::at(path))
}
