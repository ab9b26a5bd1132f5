//! Files that others read, or that must outlive their node; and large ones, which are hashed by another thread while they are
//! written or read, so that no byte is touched twice.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    panic::resume_unwind,
    path::Path,
    sync::mpsc,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::Error;
use crate::contract::workload;

/// What is read before the next piece is read beside its hashing.
const CHUNK: usize = 1 << 20;

/// Where the time of writing went.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// Until the last byte was with the system.
    pub(crate) write: Duration,
    /// Until everything was on the volume.
    pub(crate) sync: Duration,
}

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

/// Write a new file that its user alone may read; on the volume in the end, where it is to be `durable`. Its SHA-256 in
/// lower-case hex.
pub(crate) fn write_hashed(
    path: &Path,
    content: &[u8],
    durable: bool,
    spent: &mut Spent,
) -> Result<String, Error> {
    thread::scope(|scope| {
        let hash = scope.spawn(|| Sha256::new_with_prefix(content));
        let begun = Instant::now();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path).map_err(Error::at(path))?;
        file.write_all(content).map_err(Error::at(path))?;
        spent.write += begun.elapsed();
        if durable {
            let written = Instant::now();
            file.sync_all().map_err(Error::at(path))?;
            spent.sync += written.elapsed();
        }
        let written = Instant::now();
        let sha256 = hex(hash);
        spent.write += written.elapsed();
        Ok(sha256)
    })
}

/// Read a whole file of a known size into `content`. Its SHA-256 in lower-case hex.
pub(crate) fn read_hashed(path: &Path, size: u64, content: &mut Vec<u8>) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::at(path))?;
    let there = file.metadata().map_err(Error::at(path))?.len();
    if there != size {
        return Err(Error::unusable(
            path,
            format!("has {there} bytes instead of {size}"),
        ));
    }
    let size = usize::try_from(size).map_err(|error| Error::unusable(path, error.to_string()))?;
    content.resize(size, 0);
    thread::scope(|scope| {
        let (read, chunks) = mpsc::channel::<&[u8]>();
        let hash = scope.spawn(|| chunks.into_iter().fold(Sha256::new(), Sha256::chain_update));
        for chunk in content.chunks_mut(CHUNK) {
            file.read_exact(chunk).map_err(Error::at(path))?;
            // It ends after this thread alone.
            let _ = read.send(chunk);
        }
        drop(read);
        Ok(hex(hash))
    })
}

fn hex(hash: ScopedJoinHandle<'_, Sha256>) -> String {
    let hash = hash.join().unwrap_or_else(|panic| resume_unwind(panic));
    format!("{:x}", hash.finalize())
}

/// Size in bytes and SHA-256 in lower-case hex of a file, of which nothing is kept.
pub(crate) fn digest(path: &Path) -> Result<(u64, String), Error> {
    let file = File::open(path).map_err(Error::at(path))?;
    workload::digest(file).map_err(Error::at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_digest_is_sha256_whoever_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut spent) = (dir.path().join("abc"), Spent::default());
        assert_eq!(write_hashed(&path, b"abc", true, &mut spent).unwrap(), ABC);
        assert_eq!(digest(&path).unwrap(), (3, ABC.to_owned()));
        let mut content = Vec::new();
        assert_eq!(read_hashed(&path, 3, &mut content).unwrap(), ABC);
        assert_eq!(content, b"abc");
    }

    #[test]
    fn what_is_read_in_pieces_is_hashed_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let written: Vec<u8> = (0..251).cycle().take(2 * CHUNK + 1).collect();
        let sha256 = write_hashed(&path, &written, false, &mut Spent::default()).unwrap();
        let mut content = vec![7; 9];
        assert_eq!(
            read_hashed(&path, written.len() as u64, &mut content).unwrap(),
            sha256
        );
        assert!(content == written);
        assert!(
            read_hashed(&path, 1, &mut content)
                .unwrap_err()
                .to_string()
                .contains("instead of 1")
        );
    }
}
