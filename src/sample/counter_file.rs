//! A counter file that is opened once and read many times.
//!
//! `pread` on a kept descriptor costs a fifth of open + read + close (`benches/reading.rs`), and it is the identity check:
//! once the cgroup is removed it answers `ENODEV` for ever, also when a cgroup of the same name comes back.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    str,
};

/// Room for one file, on the stack of the reading thread. The longest, `memory.stat`, is below 3 KiB; the kernel answers
/// a file that fits in one read.
pub type Buffer = [u8; 8192];

/// An empty [`Buffer`].
pub const EMPTY: Buffer = [0; 8192];

/// An open counter file.
#[derive(Debug)]
pub struct CounterFile {
    file: File,
    path: PathBuf,
}

impl CounterFile {
    /// Open it for good.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            file: File::open(&path)?,
            path,
        })
    }

    /// Its present text.
    pub fn read<'a>(&self, buffer: &'a mut Buffer) -> io::Result<&'a str> {
        let length = self.file.read_at(buffer, 0)?;
        str::from_utf8(&buffer[..length]).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_read_begins_at_the_start_and_sees_the_present_text() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory.current");
        std::fs::write(&path, "1\n").unwrap();
        let file = CounterFile::open(path.clone()).unwrap();
        assert_eq!(file.read(&mut EMPTY.clone()).unwrap(), "1\n");
        std::fs::write(&path, "22\n").unwrap();
        assert_eq!(file.read(&mut EMPTY.clone()).unwrap(), "22\n");
    }

    #[test]
    fn bytes_that_are_not_text_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cpu.stat");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        let error = CounterFile::open(path)
            .unwrap()
            .read(&mut EMPTY.clone())
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
