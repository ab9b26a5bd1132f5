//! Paths that come from the API's objects, resolved below a directory: neither `..` nor a symbolic link that a container
//! has planted leads out of it, because the kernel itself sees to it (`openat2(2)`).

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::{Mode, fchmod, mkdirat},
};

/// The kernel gives up on a path whose directories are being renamed; so often it is asked again.
const ATTEMPTS: u32 = 32;

/// A directory, and how paths below it are resolved.
#[derive(Debug)]
pub(crate) struct Tree {
    directory: OwnedFd,
    resolve: ResolveFlag,
}

impl Tree {
    /// A volume: a path that leads out of it is an error.
    pub(crate) fn volume(path: &Path) -> io::Result<Self> {
        Self::open(path, ResolveFlag::RESOLVE_BENEATH)
    }

    /// The root of a container in the making: absolute links start at it, and `..` ends there.
    pub(crate) fn root(path: &Path) -> io::Result<Self> {
        Self::open(path, ResolveFlag::RESOLVE_IN_ROOT)
    }

    fn open(path: &Path, resolve: ResolveFlag) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            directory: open(path, flags, Mode::empty())?,
            resolve: resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        })
    }

    fn at(&self, path: &Path, flags: OFlag, mode: Mode) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .mode(mode)
            .resolve(self.resolve);
        let path = match path.strip_prefix("/").unwrap_or(path) {
            itself if itself.as_os_str().is_empty() => Path::new("."),
            below => below,
        };
        let mut attempts = 0;
        loop {
            match openat2(&self.directory, path, how) {
                Err(Errno::EAGAIN) if attempts < ATTEMPTS => attempts += 1,
                Err(Errno::EXDEV) => return Err(io::Error::other("it leads out of the volume")),
                Err(Errno::ENOSYS) => {
                    return Err(io::Error::other(
                        "openat2 is missing: Linux 5.6 or newer is needed",
                    ));
                }
                result => return Ok(result?),
            }
        }
    }

    /// What is at a path; to be mounted or looked at, not to be read.
    pub(crate) fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        self.at(path, OFlag::O_PATH, Mode::empty())
    }

    /// The directory at a path. Those on the way that are not there are made, with this mode whatever the umask.
    pub(crate) fn directory(&self, path: &Path, mode: u32) -> io::Result<OwnedFd> {
        let mut so_far = PathBuf::new();
        let mut current = self.find(&so_far)?;
        for part in path.components().filter(|part| *part != Component::RootDir) {
            so_far.push(part);
            current = match self.find(&so_far) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.make(&current, part, &so_far, Mode::from_bits_truncate(mode))?
                }
                found => found?,
            };
        }
        Ok(current)
    }

    fn make(&self, parent: &OwnedFd, name: Component, path: &Path, mode: Mode) -> io::Result<OwnedFd> {
        match mkdirat(parent, name.as_os_str(), mode) {
            // Another container was faster; or it is a link to nothing, which is then not found.
            Err(Errno::EEXIST) => {}
            result => {
                result?;
                fchmod(self.at(path, OFlag::O_DIRECTORY, Mode::empty())?, mode)?;
            }
        }
        self.find(path)
    }

    /// A new file at a path, with the directories on the way.
    pub(crate) fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        if let Some(parent) = path.parent() {
            self.directory(parent, 0o755)?;
        }
        let mode = Mode::from_bits_truncate(mode);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = File::from(self.at(path, flags, mode)?);
        fchmod(&file, mode)?;
        Ok(file)
    }
}

/// A path to what a descriptor refers to, for calls that know paths only.
pub(crate) fn path_of(descriptor: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A directory `in` beside a directory `out`, with links from the one to the other.
    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for name in ["in", "out"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        symlink("../out", place.path().join("in/relative")).unwrap();
        symlink(place.path().join("out"), place.path().join("in/absolute")).unwrap();
        symlink("nowhere", place.path().join("in/dangling")).unwrap();
        place
    }

    fn entries(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn nothing_is_found_or_made_outside_a_volume() {
        let place = place();
        let volume = Tree::volume(&place.path().join("in")).unwrap();
        for path in [
            "relative/x",
            "absolute/x",
            "dangling/x",
            "../out/x",
            "a/../../out/x",
            "../../../tmp/x",
        ] {
            let path = Path::new(path);
            assert!(volume.find(path).is_err(), "{}", path.display());
            assert!(volume.directory(path, 0o777).is_err(), "{}", path.display());
            assert!(volume.create(path, 0o666).is_err(), "{}", path.display());
        }
        assert_eq!(entries(&place.path().join("out")), 0);
    }

    #[test]
    fn links_of_a_root_are_resolved_in_it() {
        let place = place();
        let inside = place.path().join("in");
        let root = Tree::root(&inside).unwrap();
        fs::create_dir(inside.join("run")).unwrap();
        symlink("/run", inside.join("var-run")).unwrap();
        root.directory(Path::new("/var-run/x/y"), 0o755).unwrap();
        root.create(Path::new("/../../var-run/z"), 0o644).unwrap();
        assert!(inside.join("run/x/y").is_dir() && inside.join("run/z").is_file());
        assert_eq!(entries(&place.path().join("out")), 0);
    }
}
