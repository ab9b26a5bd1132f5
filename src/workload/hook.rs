//! The conversation between the checkpoint hook and the trainer beside it: small files in `<checkpoints>/.hook`.
//!
//! ```text
//! hook                                     trainer
//! request-<id>  {expires}       ───────►   stops stepping, writes the checkpoint, hold-<writer>
//! (prints the manifest)         ◄───────   response-<id>  {written: manifest} or {failed: why}
//!                                          holds still, until its hold file is gone or the time-out has passed
//! release: removes hold-*       ───────►   goes on
//! ```
//!
//! A file left by a process that died has no effect: requests expire and are withdrawn by their hook, a response has
//! one reader, and a hold file is looked at only by the trainer that made it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Error, TICK, checkpoint::write_atomically, unix_seconds};
use crate::contract::workload::{Manifest, ManifestFile};

const FOLDER: &str = ".hook";
const REQUEST: &str = "request-";
const RESPONSE: &str = "response-";
const HOLD: &str = "hold-";

/// A hook's request for a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Unix time, seconds, after which nobody waits for the answer.
    pub expires: f64,
}

/// The trainer's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// The checkpoint is on the volume; paths are relative to the directory of the checkpoints.
    Written(Manifest),
    /// There is none, and why. The trainer goes on.
    Failed(String),
}

/// The trainer's end of the conversation.
#[derive(Debug)]
pub struct Desk {
    folder: PathBuf,
    hold: PathBuf,
}

impl Desk {
    /// Open the desk of the trainer `writer` whose checkpoints lie in `dir`.
    pub fn open(dir: &Path, writer: &str) -> Result<Self, Error> {
        let folder = dir.join(FOLDER);
        fs::create_dir_all(&folder).map_err(Error::at(&folder))?;
        let hold = folder.join(format!("{HOLD}{writer}"));
        Ok(Self { folder, hold })
    }

    /// The id of a request that somebody still waits for.
    pub fn request(&self) -> Option<String> {
        entries(&self.folder, REQUEST)
            .into_iter()
            .find_map(|(id, path)| self.is_open(&id, &path).then_some(id))
    }

    /// A hook withdraws its request before the response. Looked at in the other order, a request that is answered and
    /// just being withdrawn is never taken for a new one.
    fn is_open(&self, id: &str, request: &Path) -> bool {
        !self.response(id).exists()
            && fs::read(request)
                .ok()
                .and_then(|text| serde_json::from_slice::<Request>(&text).ok())
                .is_some_and(|request| request.expires > unix_seconds())
    }

    /// Answer a request. False when its hook has given up meanwhile.
    pub fn answer(&self, id: &str, response: &Response) -> Result<bool, Error> {
        if !self.folder.join(format!("{REQUEST}{id}")).exists() {
            return Ok(false);
        }
        let text = serde_json::to_vec(response).map_err(|error| Error::Refused(error.to_string()))?;
        write_atomically(&self.response(id), &text).map(|()| true)
    }

    /// Say that the trainer holds still.
    pub fn hold(&self) -> Result<(), Error> {
        write_atomically(&self.hold, b"")
    }

    /// Whether nobody has released the hold.
    pub fn holds(&self) -> bool {
        self.hold.exists()
    }

    /// End the hold.
    pub fn go_on(&self) {
        let _ = fs::remove_file(&self.hold);
    }

    fn response(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{RESPONSE}{id}"))
    }
}

/// The hook: have the trainer whose checkpoints lie in `dir` write one. Returns its manifest with paths relative to
/// `mount`, at or above `dir`. The trainer then holds still.
pub async fn ask(dir: &Path, mount: &Path, timeout: Duration) -> Result<Manifest, Error> {
    let prefix = dir.strip_prefix(mount).map_err(|_| {
        Error::Usage(format!(
            "--dir {} is not below --mount {}: name the mount that holds it",
            dir.display(),
            mount.display()
        ))
    })?;
    let withdrawn_at_end = Pending::post(dir, timeout)?;
    let answered = tokio::time::timeout(timeout, withdrawn_at_end.answer()).await;
    match answered {
        Ok(Ok(Response::Written(manifest))) => Ok(below(prefix, manifest)),
        Ok(Ok(Response::Failed(reason))) => Err(Error::Refused(reason)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::Refused(format!(
            "no trainer answered below {} within {}",
            dir.display(),
            humantime::format_duration(timeout)
        ))),
    }
}

/// Let every trainer below `dir` that holds still go on. Returns how many held.
pub fn release(dir: &Path) -> Result<usize, Error> {
    let holds = entries(&dir.join(FOLDER), HOLD);
    for (_, hold) in &holds {
        fs::remove_file(hold).map_err(Error::at(hold))?;
    }
    Ok(holds.len())
}

/// A request that is withdrawn when dropped.
struct Pending {
    request: PathBuf,
    response: PathBuf,
}

impl Pending {
    fn post(dir: &Path, timeout: Duration) -> Result<Self, Error> {
        let folder = dir.join(FOLDER);
        fs::create_dir_all(&folder).map_err(Error::at(&folder))?;
        let id = uuid::Uuid::new_v4().simple();
        let pending = Self {
            request: folder.join(format!("{REQUEST}{id}")),
            response: folder.join(format!("{RESPONSE}{id}")),
        };
        let expires = unix_seconds() + timeout.as_secs_f64();
        let text = serde_json::to_vec(&Request { expires }).map_err(|e| Error::Refused(e.to_string()))?;
        write_atomically(&pending.request, &text)?;
        Ok(pending)
    }

    async fn answer(&self) -> Result<Response, Error> {
        loop {
            if let Ok(text) = fs::read(&self.response) {
                return serde_json::from_slice(&text).map_err(|error| Error::Refused(error.to_string()));
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.request);
        let _ = fs::remove_file(&self.response);
    }
}

/// Files of `folder` whose name begins with `prefix`: the rest of the name, and the path.
fn entries(folder: &Path, prefix: &str) -> Vec<(String, PathBuf)> {
    let names = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?.strip_prefix(prefix)?;
        (!name.contains('.')).then(|| (name.to_owned(), path.clone()))
    });
    names.collect()
}

fn below(prefix: &Path, manifest: Manifest) -> Manifest {
    let join = |path: &str| prefix.join(path).display().to_string();
    Manifest {
        step: manifest.step,
        epoch: manifest.epoch,
        directory: join(&manifest.directory),
        files: manifest
            .files
            .into_iter()
            .map(|file| ManifestFile {
                path: join(&file.path),
                ..file
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(directory: &str) -> Manifest {
        let file = ManifestFile {
            path: format!("{directory}/state.json"),
            size: 2,
            sha256: "00".into(),
        };
        Manifest {
            step: 8,
            epoch: None,
            directory: directory.into(),
            files: vec![file],
        }
    }

    async fn ask_with(dir: &Path, mount: &Path, response: Response) -> Result<Manifest, Error> {
        let desk = Desk::open(dir, "w").unwrap();
        let trainer = async {
            loop {
                if let Some(id) = desk.request() {
                    assert!(desk.answer(&id, &response).unwrap());
                    assert_eq!(desk.request(), None, "answered once");
                    break;
                }
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::join!(ask(dir, mount, Duration::from_secs(9)), trainer).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_manifest_is_relative_to_the_mount() {
        let mount = tempfile::tempdir().unwrap();
        let dir = mount.path().join("checkpoints");
        let response = Response::Written(manifest("ckpt-8-w"));
        let printed = ask_with(&dir, mount.path(), response).await.unwrap();
        assert_eq!(printed, manifest("checkpoints/ckpt-8-w"));
        assert_eq!(
            fs::read_dir(dir.join(FOLDER)).unwrap().count(),
            0,
            "no file stays"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_passed_on() {
        let dir = tempfile::tempdir().unwrap();
        let response = Response::Failed("No space left on device".into());
        let error = ask_with(dir.path(), dir.path(), response).await.unwrap_err();
        assert_eq!(error.to_string(), "no checkpoint: No space left on device");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_trainer_the_request_is_withdrawn() {
        let dir = tempfile::tempdir().unwrap();
        let error = ask(dir.path(), dir.path(), Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no trainer answered"), "{error}");
        assert_eq!(fs::read_dir(dir.path().join(FOLDER)).unwrap().count(), 0);
    }

    #[test]
    fn a_request_that_nobody_waits_for_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let desk = Desk::open(dir.path(), "w").unwrap();
        let old = serde_json::to_vec(&Request { expires: 1.0 }).unwrap();
        fs::write(desk.folder.join("request-old"), old).unwrap();
        fs::write(desk.folder.join("request-broken"), "{").unwrap();
        assert_eq!(desk.request(), None);
        assert!(!desk.answer("gone", &Response::Failed(String::new())).unwrap());
    }

    #[test]
    fn release_ends_every_hold() {
        let dir = tempfile::tempdir().unwrap();
        let (dead, alive) = (
            Desk::open(dir.path(), "dead").unwrap(),
            Desk::open(dir.path(), "alive").unwrap(),
        );
        dead.hold().unwrap();
        assert!(!alive.holds(), "another trainer's hold is not mine");
        alive.hold().unwrap();
        assert_eq!(release(dir.path()).unwrap(), 2);
        assert!(!alive.holds());
        assert_eq!(release(dir.path()).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_directory_outside_the_mount_is_refused() {
        let error = ask(Path::new("/a"), Path::new("/b"), Duration::from_secs(1)).await;
        assert!(error.unwrap_err().to_string().contains("not below --mount /b"));
    }
}
