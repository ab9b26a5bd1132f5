//! Opening what lies below a mount and nothing else: whoever can write to the volume must not make the verification read
//! another file, or wait for ever at a pipe. No symbolic link is followed, wherever it leads.

use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io,
    os::fd::OwnedFd,
    path::{Component, Path},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat},
    sys::stat::Mode,
};

/// Why something was not opened.
#[derive(Debug, thiserror::Error)]
pub enum Amiss {
    /// It is not there, or cannot be looked at now.
    #[error(transparent)]
    Absent(#[from] io::Error),
    /// What is there is something else.
    #[error("{0}")]
    Other(&'static str),
}

impl From<Errno> for Amiss {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ELOOP | Errno::ENOTDIR => {
                Self::Other("is a symbolic link, or lies below something that is no directory")
            }
            Errno::ENXIO | Errno::ENODEV => Self::Other("is no regular file"),
            errno => Self::Absent(errno.into()),
        }
    }
}

/// A regular file, opened for reading.
pub fn file(root: &Path, path: &Path) -> Result<File, Amiss> {
    // A pipe that nobody writes to is opened at once.
    let opened = open(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
    is(&opened, Metadata::is_file, "is no regular file").map(|()| opened)
}

/// Check that there is a regular file or a directory.
pub fn exists(root: &Path, path: &Path) -> Result<(), Amiss> {
    let opened = open(root, path, OFlag::O_PATH)?;
    is(
        &opened,
        |found| found.is_file() || found.is_dir(),
        "is neither a regular file nor a directory",
    )
}

fn is(opened: &File, wanted: fn(&Metadata) -> bool, otherwise: &'static str) -> Result<(), Amiss> {
    if wanted(&opened.metadata()?) {
        Ok(())
    } else {
        Err(Amiss::Other(otherwise))
    }
}

/// Name by name, each in the directory that was opened before: nobody can change the way in between.
fn open(root: &Path, path: &Path, flags: OFlag) -> Result<File, Amiss> {
    let names = path.components().map(|component| match component {
        Component::Normal(name) => Ok(name),
        _ => Err(Amiss::Other("is not below the mount")),
    });
    let names = names.collect::<Result<Vec<&OsStr>, _>>()?;
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at: OwnedFd = openat(AT_FDCWD, root, directory, Mode::empty()).map_err(io::Error::from)?;
    let Some((last, above)) = names.split_last() else {
        return Ok(at.into());
    };
    for name in above {
        at = openat(&at, *name, directory | OFlag::O_NOFOLLOW, Mode::empty())?;
    }
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(&at, *last, flags, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn only_what_is_there_itself_is_opened() {
        let (volume, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, secret) = (volume.path(), outside.path().join("secret"));
        std::fs::write(&secret, "s").unwrap();
        std::fs::create_dir(root.join("gen")).unwrap();
        std::fs::write(root.join("gen/state"), "abc").unwrap();
        symlink(&secret, root.join("gen/link")).unwrap();
        symlink("state", root.join("gen/inside")).unwrap();
        symlink(outside.path(), root.join("away")).unwrap();
        symlink("gen", root.join("latest")).unwrap();
        mkfifo(&root.join("gen/pipe"), Mode::S_IRWXU).unwrap();
        let _listening = UnixListener::bind(root.join("gen/socket")).unwrap();

        assert!(file(root, Path::new("gen/state")).is_ok());
        assert!(exists(root, Path::new("gen")).is_ok() && exists(root, Path::new("")).is_ok());
        for path in [
            "gen/link",
            "gen/inside",
            "away/secret",
            "latest/state",
            "gen/pipe",
            "gen/socket",
            "../x",
            "gen/state/x",
        ] {
            let path = Path::new(path);
            assert!(matches!(file(root, path), Err(Amiss::Other(_))), "{path:?}");
            assert!(matches!(exists(root, path), Err(Amiss::Other(_))), "{path:?}");
        }
        assert!(matches!(file(root, Path::new("gen")), Err(Amiss::Other(_))));
        for absent in ["gen/other", "other/state"] {
            assert!(
                matches!(file(root, Path::new(absent)), Err(Amiss::Absent(_))),
                "{absent}"
            );
        }
        assert!(matches!(
            file(&root.join("no-mount"), Path::new("x")),
            Err(Amiss::Absent(_))
        ));
    }
}
