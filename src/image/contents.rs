//! What is in the image. `Dockerfile` makes the same of a static build.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::{Error, libraries};

/// Where the program is in the image.
const PROGRAM: &str = "usr/bin/migbench";
/// Where its libraries are. No distribution's loader looks here by itself; it is told by the environment, so that it does
/// not matter where libraries lie on the host.
const LIBRARIES: &str = "usr/lib/migbench";
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";
/// The user by number, so that `runAsNonRoot` can be checked.
const USER: &str = "65532:65532";

/// What goes into the image's one layer, and how a container of it is started.
#[derive(Debug)]
pub(super) struct Contents {
    entries: Vec<Entry>,
    /// Libraries, the loader included.
    pub libraries: usize,
    /// Whether the host has certificates of public authorities.
    pub certificates: bool,
}

#[derive(Debug)]
struct Entry {
    /// Without a leading slash.
    path: String,
    mode: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Directory,
    Text(&'static str),
    /// A file of this host.
    Copy(PathBuf),
}

/// This program, what it needs to be loaded, and what its libraries expect in `/etc`.
pub(super) fn of_this_program() -> Result<Contents, Error> {
    // The file that runs, even where another one has been put in its place; a child has a `self` of its own.
    let program = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let needed = libraries::of(&program)?;
    let mut entries = vec![
        Entry::text("etc/passwd", "migbench:x:65532:65532::/tmp:/sbin/nologin\n"),
        Entry::text("etc/group", "migbench:x:65532:\n"),
        Entry::text("etc/nsswitch.conf", "hosts: files dns\n"),
        Entry::copy(PROGRAM, 0o755, program),
    ];
    let libraries = needed.libraries.len() + usize::from(needed.loader.is_some());
    for (name, path) in needed.libraries {
        entries.push(Entry::copy(&format!("{LIBRARIES}/{name}"), 0o644, path));
    }
    if let Some(loader) = needed.loader {
        let path = loader.to_string_lossy().trim_start_matches('/').to_owned();
        entries.push(Entry::copy(&path, 0o755, loader));
    }
    let certificates = openssl_probe::probe().cert_file;
    let has_certificates = certificates.is_some();
    entries.extend(certificates.map(|file| Entry::copy(CERTIFICATES, 0o644, file)));
    Ok(Contents {
        entries: with_directories(entries),
        libraries,
        certificates: has_certificates,
    })
}

/// Every directory before what is in it.
fn with_directories(mut entries: Vec<Entry>) -> Vec<Entry> {
    let parents = |entry: &Entry| {
        let above = Path::new(&entry.path).ancestors().skip(1);
        above
            .filter_map(|path| path.to_str().filter(|path| !path.is_empty()))
            .map(|path| Entry::directory(path, 0o755))
            .collect::<Vec<_>>()
    };
    let directories: Vec<_> = entries.iter().flat_map(parents).collect();
    entries.extend(directories);
    entries.push(Entry::directory("tmp", 0o1777));
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    entries.dedup_by(|one, other| one.path == other.path);
    entries
}

impl Contents {
    /// Write the layer: a tar archive with neither times nor owners of this host.
    pub(super) fn write_layer(&self, layer: &mut impl Write) -> Result<(), Error> {
        let mut archive = tar::Builder::new(layer);
        for entry in &self.entries {
            entry.append(&mut archive).map_err(|source| Error::Read {
                what: entry.source(),
                source,
            })?;
        }
        archive.finish().map_err(|source| Error::Read {
            what: "the layer".into(),
            source,
        })
    }

    /// How a container is started, as the OCI image specification has it.
    pub(super) fn config(&self, platform: [&str; 2], layer: &str) -> Value {
        let mut environment = vec!["PATH=/usr/bin".to_owned()];
        if self.libraries > 0 {
            environment.push(format!("LD_LIBRARY_PATH=/{LIBRARIES}"));
        }
        json!({
            "created": "1970-01-01T00:00:00Z",
            "os": platform[0],
            "architecture": platform[1],
            "config": {
                "User": USER,
                "ExposedPorts": {"8080/tcp": {}},
                "Env": environment,
                "Entrypoint": [format!("/{PROGRAM}")],
                "Cmd": ["--help"],
                "WorkingDir": "/tmp",
                "Labels": {
                    "org.opencontainers.image.title": env!("CARGO_PKG_NAME"),
                    "org.opencontainers.image.description": env!("CARGO_PKG_DESCRIPTION"),
                    "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
                    "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                },
            },
            "rootfs": {"type": "layers", "diff_ids": [layer]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "migbench image save"}],
        })
    }
}

impl Entry {
    fn text(path: &str, text: &'static str) -> Self {
        Self::new(path, 0o644, What::Text(text))
    }

    fn copy(path: &str, mode: u32, from: PathBuf) -> Self {
        Self::new(path, mode, What::Copy(from))
    }

    fn directory(path: &str, mode: u32) -> Self {
        Self::new(path, mode, What::Directory)
    }

    fn new(path: &str, mode: u32, what: What) -> Self {
        Self {
            path: path.to_owned(),
            mode,
            what,
        }
    }

    /// Where it comes from, for an error.
    fn source(&self) -> String {
        match &self.what {
            What::Copy(path) => path.display().to_string(),
            What::Directory | What::Text(_) => self.path.clone(),
        }
    }

    fn append(&self, archive: &mut tar::Builder<impl Write>) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_mode(self.mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        match &self.what {
            What::Directory => {
                header.set_entry_type(EntryType::Directory);
                header.set_size(0);
                archive.append_data(&mut header, format!("{}/", self.path), io::empty())
            }
            What::Text(text) => {
                header.set_size(text.len() as u64);
                archive.append_data(&mut header, &self.path, text.as_bytes())
            }
            What::Copy(from) => {
                let file = File::open(from)?;
                header.set_size(file.metadata()?.len());
                archive.append_data(&mut header, &self.path, file)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_what_is_in_them_and_once() {
        let entries = with_directories(vec![Entry::text("a/b/c", "x"), Entry::text("a/b/d", "y")]);
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a/b/d", "tmp"]);
        assert_eq!(entries[4].mode, 0o1777);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let contents = Contents {
            entries: vec![Entry::copy("x", 0o644, PathBuf::from("/nonexistent/x"))],
            libraries: 0,
            certificates: false,
        };
        let told = contents.write_layer(&mut Vec::new()).unwrap_err().to_string();
        assert!(told.starts_with("/nonexistent/x: "), "{told}");
    }
}
