//! Fetching a wheel without Python: the two that are needed before there is one, uv and pip, on hosts that have neither.

use std::{
    borrow::Cow,
    env,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use reqwest::{Client, Response, Url};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::lock;

/// Where wheels come from unless the user names a mirror.
const PYPI: &str = "https://pypi.org/simple";
/// How long a connection may take to come about, and to say something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fetch the one wheel that a lock file has of `package` into `folder`: from the user's directories of wheels, else,
/// unless `offline`, from the index. Returns its path.
pub(super) async fn fetch(
    package: &str,
    text: &str,
    folder: &Path,
    offline: bool,
) -> anyhow::Result<PathBuf> {
    let hash = lock::hashes(text).next().context("a lock file without a hash")?;
    let links = env::var("PIP_FIND_LINKS").unwrap_or_default();
    if let Some(wheel) = links
        .split_whitespace()
        .find_map(|links| lying(links, package, hash))
    {
        return Ok(wheel);
    }
    if offline || env::var_os("PIP_NO_INDEX").is_some_and(|value| value != "0") {
        bail!("{package} is in no directory of PIP_FIND_LINKS");
    }
    let page = index()?.join(&format!("{package}/"))?;
    download(page.clone(), hash, folder).await.with_context(|| {
        format!(
            "fetching {package} from {}",
            page.host_str().unwrap_or("the index")
        )
    })
}

/// A file of that package and hash in a directory.
fn lying(links: &str, package: &str, hash: &str) -> Option<PathBuf> {
    let directory = links.strip_prefix("file://").unwrap_or(links);
    let entries = fs::read_dir(directory).ok()?.flatten();
    let ours = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(&format!("{package}-")) && name.ends_with(".whl")
    });
    let same = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| digest(&bytes) == hash);
    ours.map(|entry| entry.path()).find(same)
}

/// The user's mirror, with a slash at its end.
fn index() -> anyhow::Result<Url> {
    let named = ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"]
        .into_iter()
        .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    let address = named.as_deref().unwrap_or(PYPI);
    Url::parse(&format!("{}/", address.trim_end_matches('/'))).context("the address of the package index")
}

async fn download(page: Url, hash: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    // Fails where a provider is installed already, and that is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .build()?;
    let get = async |address: Url| -> reqwest::Result<Response> {
        // pip and uv take both forms of a page, and this one only the older, which every index has.
        let request = client.get(address).header("Accept", "text/html");
        request.send().await?.error_for_status()
    };
    let listing = get(page.clone()).await?.text().await?;
    let link = link(&listing, hash).with_context(|| format!("no file there has the hash {hash}"))?;
    let file = page.join(link)?;
    let name = file.path_segments().and_then(|mut path| path.next_back());
    let path = folder.join(name.context("a link without a file name")?);
    let bytes = get(file.clone()).await?.bytes().await?;
    if digest(&bytes) != hash {
        bail!("{file} has another hash than the lock file says");
    }
    fs::write(&path, bytes)?;
    Ok(path)
}

/// The link of an index's page to the file with that hash, without the hash.
fn link<'a>(listing: &'a str, hash: &str) -> Option<&'a str> {
    let links = listing.split("href=").skip(1);
    let links = links.filter_map(|text| text.get(1..)?.split(['"', '\'']).next());
    links
        .filter_map(|link| link.split_once('#'))
        .find_map(|(file, fragment)| {
            let same = fragment
                .split('&')
                .any(|part| part.strip_prefix("sha256=") == Some(hash));
            same.then_some(file)
        })
}

fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Take the program of that name out of a wheel.
pub(super) fn unpack(wheel: &Path, program: &str, place: &Path) -> anyhow::Result<()> {
    let mut archive = ZipArchive::new(File::open(wheel)?)?;
    let end = format!(".data/scripts/{program}");
    let mut names = archive.file_names().filter_map(Result::ok);
    let entry = names.find(|name| name.ends_with(&end)).map(Cow::into_owned);
    drop(names);
    let entry = entry.with_context(|| format!("no {program} in {}", wheel.display()))?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(place)?;
    io::copy(&mut archive.by_name(&entry)?, &mut file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::PermissionsExt};

    use axum::{Router, response::Html, routing::get};
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn wheel() -> Vec<u8> {
        let mut archive = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in [("uv/__init__.py", ""), ("uv-1.data/scripts/uv", "#!/bin/sh\n")] {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(content.as_bytes()).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    async fn serve(fragment: String) -> Url {
        let page = format!(
            "<a href=\"../files/uv-0-py3-none-any.whl#sha256=00\">old</a>\
             <a href=\"../files/uv-1-py3-none-any.whl#sha256={fragment}\" data-yanked>uv</a>"
        );
        let router = Router::new()
            .route("/simple/uv/", get(|| async { Html(page) }))
            .route("/simple/files/{name}", get(|| async { wheel() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, router).await });
        Url::parse(&format!("http://{address}/simple/uv/")).unwrap()
    }

    #[tokio::test]
    async fn the_wheel_is_the_one_that_the_lock_names() {
        let dir = tempfile::tempdir().unwrap();
        let hash = digest(&wheel());
        let page = serve(hash.clone()).await;
        let path = download(page.clone(), &hash, dir.path()).await.unwrap();
        assert_eq!(path, dir.path().join("uv-1-py3-none-any.whl"));
        let program = dir.path().join("uv");
        unpack(&path, "uv", &program).unwrap();
        assert_eq!(fs::read_to_string(&program).unwrap(), "#!/bin/sh\n");
        assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(unpack(&path, "pip", &dir.path().join("pip")).is_err());
        let absent = download(page, "11", dir.path()).await.unwrap_err();
        assert!(absent.to_string().contains("no file there"), "{absent}");
    }

    #[tokio::test]
    async fn a_file_with_another_hash_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let wrong = "ab".repeat(32);
        let page = serve(wrong.clone()).await;
        let refused = download(page, &wrong, dir.path()).await.unwrap_err();
        assert!(refused.to_string().contains("another hash"), "{refused}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_of_wheels_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("uv-1-py3-none-any.whl");
        fs::write(&path, wheel()).unwrap();
        let hash = digest(&wheel());
        let links = format!("file://{}", dir.path().display());
        assert_eq!(lying(&links, "uv", &hash), Some(path.clone()));
        assert_eq!(
            lying(path.parent().unwrap().to_str().unwrap(), "uv", &hash),
            Some(path)
        );
        assert_eq!(lying(&links, "uv", "00"), None);
        assert_eq!(lying(&links, "pip", &hash), None);
        assert_eq!(lying("https://host/simple", "uv", &hash), None);
    }
}
