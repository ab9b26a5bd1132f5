//! The file: an OCI image layout in a tar archive, with the `manifest.json` that older Dockers and `crane` look for.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::Header;

use super::{Error, Saved, contents::Contents, name::Name};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Something that is kept under its own digest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blob {
    hex: String,
    bytes: u64,
}

impl Blob {
    fn of(bytes: &[u8]) -> Self {
        Self {
            hex: format!("{:x}", Sha256::digest(bytes)),
            bytes: bytes.len() as u64,
        }
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.hex)
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.hex)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest(), "size": self.bytes})
    }
}

/// Write the image into `file`, which is replaced at once at the end.
pub(super) fn write(file: &Path, name: &Name, contents: &Contents) -> Result<Saved, Error> {
    let failed = |source| Error::Write {
        file: file.display().to_string(),
        source,
    };
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let (layer, mut layer_file) = layer(directory, contents, &failed)?;
    // As any other program makes a file: the umask has its say.
    let mut out = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(failed)?;

    let platform = ["linux", architecture()];
    let config = contents.config(platform, &layer.digest()).to_string();
    let config_blob = Blob::of(config.as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config_blob.descriptor(CONFIG),
        "layers": [layer.descriptor(LAYER)],
    })
    .to_string();
    let manifest_blob = Blob::of(manifest.as_bytes());
    let index = index(&manifest_blob, name, platform).to_string();
    let docker = json!([{
        "Config": config_blob.path(),
        "RepoTags": [name.to_string()],
        "Layers": [layer.path()],
    }])
    .to_string();

    let mut archive = tar::Builder::new(io::BufWriter::new(out.as_file_mut()));
    let small = [
        ("oci-layout".to_owned(), r#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json".to_owned(), &index),
        ("manifest.json".to_owned(), &docker),
        (manifest_blob.path(), &manifest),
        (config_blob.path(), &config),
    ];
    for (path, text) in small {
        append(&mut archive, &path, text.len() as u64, text.as_bytes()).map_err(failed)?;
    }
    append(&mut archive, &layer.path(), layer.bytes, &mut layer_file).map_err(failed)?;
    let mut written = archive.into_inner().map_err(failed)?;
    written.flush().map_err(failed)?;
    drop(written);
    let bytes = out.as_file().metadata().map_err(failed)?.len();
    out.persist(file).map_err(|error| failed(error.error))?;
    Ok(Saved {
        bytes,
        digest: manifest_blob.digest(),
        platform: platform.join("/"),
        libraries: contents.libraries,
        certificates: contents.certificates,
    })
}

/// The layer in a file without a name, for its size is wanted before it is put into the archive.
fn layer(
    directory: &Path,
    contents: &Contents,
    failed: &impl Fn(io::Error) -> Error,
) -> Result<(Blob, File), Error> {
    let mut file = tempfile::tempfile_in(directory).map_err(failed)?;
    let mut hashed = Hashed {
        out: io::BufWriter::new(&mut file),
        hash: Sha256::new(),
        bytes: 0,
    };
    contents.write_layer(&mut hashed)?;
    hashed.flush().map_err(failed)?;
    let blob = Blob {
        hex: format!("{:x}", hashed.hash.clone().finalize()),
        bytes: hashed.bytes,
    };
    drop(hashed);
    file.rewind().map_err(failed)?;
    Ok((blob, file))
}

fn index(manifest: &Blob, name: &Name, platform: [&str; 2]) -> Value {
    let mut descriptor = manifest.descriptor(MANIFEST);
    descriptor["platform"] = json!({"os": platform[0], "architecture": platform[1]});
    // The first is what `ctr images import` calls it, the second is the specification's.
    descriptor["annotations"] = json!({
        "io.containerd.image.name": name.to_string(),
        "org.opencontainers.image.ref.name": name.tag(),
    });
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor]})
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, bytes: u64, data: impl Read) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(bytes);
    archive.append_data(&mut header, path, data)
}

/// In Go's words, which the specification uses.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Passes on what is written, and knows its digest.
struct Hashed<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.out.write(data)?;
        self.hash.update(&data[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
