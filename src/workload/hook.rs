//! The conversation between the checkpoint hook and the trainer beside it: small files in `<checkpoints>/.hook/<pod>`.
//!
//! ```text
//! hook                                     trainer
//! request-<id>  {expires, migration}   ──►   stops stepping, writes the checkpoint, hold
//! (prints the manifest)                ◄──   response-<id>  {written: manifest} or {failed: why}
//!                                            holds still until it is released or the time-out has passed
//! release: released-<migration>, or
//!          removes request-* and hold  ──►   goes on, if it wins the epoch after its own
//! ```
//!
//! A file left by a process that died has no effect: requests expire and are withdrawn by their hook, a response has
//! one reader, and a hold ends with its trainer. A release counts for what its migration asks for later as well: a hook
//! whose caller has gone away lives on, and may come to ask when nobody is left to release. Another pod's trainer on the
//! same volume has a folder of its own, and so answers no request that is not for it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Error, TICK, durable::write_atomically, epoch::holder, unix_seconds};
use crate::contract::workload::{Manifest, ManifestFile};

const FOLDER: &str = ".hook";
const REQUEST: &str = "request-";
const RESPONSE: &str = "response-";
const RELEASED: &str = "released-";
const HOLD: &str = "hold";

/// A hook's request for a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Unix time, seconds, after which nobody waits for the answer.
    pub expires: f64,
    /// The migration that it is for, where the hook was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<String>,
}

/// The trainer's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}

impl Desk {
    /// Open the desk of the pod `holder` whose checkpoints lie in `dir`. The hold of an earlier trainer of the pod has ended
    /// with it; what was released stays so.
    pub fn open(dir: &Path, holder: &str) -> Result<Self, Error> {
        let folder = dir.join(FOLDER).join(holder);
        fs::create_dir_all(&folder).map_err(Error::at(&folder))?;
        let desk = Self { folder };
        desk.remove(&[RESPONSE, HOLD]);
        Ok(desk)
    }

    fn remove(&self, prefixes: &[&str]) {
        for (_, path) in prefixes.iter().flat_map(|prefix| entries(&self.folder, prefix)) {
            let _ = fs::remove_file(path);
        }
    }

    /// A request that somebody still waits for, with its id.
    pub fn request(&self) -> Option<(String, Request)> {
        entries(&self.folder, REQUEST)
            .into_iter()
            .find_map(|(id, path)| self.open_request(&id, &path).map(|request| (id, request)))
    }

    /// A hook withdraws its request before the response. Looked at in the other order, a request that is answered and
    /// just being withdrawn is never taken for a new one.
    fn open_request(&self, id: &str, path: &Path) -> Option<Request> {
        if self.response(id).exists() {
            return None;
        }
        let request: Request = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let waits = request.expires > unix_seconds() && !self.is_released(request.migration.as_ref());
        waits.then_some(request)
    }

    /// Answer a request. False when its hook has given up meanwhile.
    ///
    /// # Errors
    /// The response may be there all the same, and may have been read.
    pub fn answer(&self, id: &str, response: &Response) -> Result<bool, Error> {
        let request = self.folder.join(format!("{REQUEST}{id}"));
        if !request.try_exists().map_err(Error::at(&request))? {
            return Ok(false);
        }
        let text = serde_json::to_vec(response).map_err(|error| Error::Refused(error.to_string()))?;
        write_atomically(&self.response(id), &text).map(|()| true)
    }

    /// Say that the trainer holds still.
    pub fn hold(&self) -> Result<(), Error> {
        write_atomically(&self.folder.join(HOLD), b"")
    }

    /// Whether nobody has released the hold. Where the volume does not answer nobody has.
    pub fn holds(&self) -> bool {
        self.folder.join(HOLD).try_exists().unwrap_or(true)
    }

    /// Whether a migration was rolled back.
    pub fn is_released(&self, migration: Option<&String>) -> bool {
        migration.is_some_and(|id| self.folder.join(format!("{RELEASED}{}", plain(id))).exists())
    }

    /// End the hold.
    pub fn go_on(&self) {
        let _ = fs::remove_file(self.folder.join(HOLD));
    }

    /// The migrations that were rolled back.
    pub fn released(&self) -> Vec<String> {
        let markers = entries(&self.folder, RELEASED);
        let read = |(_, path): &(String, PathBuf)| fs::read_to_string(path).ok();
        markers.iter().filter_map(read).collect()
    }

    /// The trainer ends, and with it the conversation. What was released must be known to whoever is started again.
    pub fn close(&self) {
        self.remove(&[REQUEST, RESPONSE, HOLD]);
        let _ = fs::remove_dir(&self.folder);
    }

    fn response(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{RESPONSE}{id}"))
    }
}

/// The hook's end.
#[derive(Debug)]
pub struct Counter {
    dir: PathBuf,
    folder: PathBuf,
}

impl Counter {
    /// The end towards the trainer of this pod, whose checkpoints lie in `dir`.
    pub fn of_environment(dir: &Path) -> Result<Self, Error> {
        Ok(Self::of(dir, &holder()?))
    }

    /// The end towards the trainer of the pod `holder`.
    pub fn of(dir: &Path, holder: &str) -> Self {
        let folder = dir.join(FOLDER).join(holder);
        let dir = dir.to_owned();
        Self { dir, folder }
    }

    /// Have the trainer write a checkpoint. Returns its manifest with paths relative to `mount`, at or above the directory of
    /// the checkpoints. The trainer then holds still.
    pub async fn ask(
        &self,
        mount: &Path,
        timeout: Duration,
        migration: Option<String>,
    ) -> Result<Manifest, Error> {
        let dir = self.dir.display();
        let prefix = self.dir.strip_prefix(mount).map_err(|_| {
            let mount = mount.display();
            Error::Usage(format!(
                "--dir {dir} is not below --mount {mount}: name the mount that holds it"
            ))
        })?;
        let withdrawn_at_end = Pending::post(&self.folder, timeout, migration)?;
        let answered = tokio::time::timeout(timeout, withdrawn_at_end.answer()).await;
        match answered {
            Ok(Ok(Response::Written(manifest))) => Ok(below(prefix, manifest)),
            Ok(Ok(Response::Failed(reason))) => Err(Error::Refused(reason)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Refused(format!(
                "no trainer answered below {dir} within {}",
                humantime::format_duration(timeout)
            ))),
        }
    }

    /// Let the trainer, should it hold still, go on: from what this migration asked for or will ask for, or from
    /// everything where none is named. The migration's pod has ended by now.
    pub fn release(&self, migration: Option<&str>) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).map_err(Error::at(&self.folder))?;
        if let Some(id) = migration {
            return write_atomically(
                &self.folder.join(format!("{RELEASED}{}", plain(id))),
                id.as_bytes(),
            );
        }
        // Requests first: a trainer holds before it answers, and answers no request that is gone.
        for (_, path) in [REQUEST, HOLD]
            .iter()
            .flat_map(|prefix| entries(&self.folder, prefix))
        {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::at(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A request that is withdrawn when dropped.
struct Pending {
    request: PathBuf,
    response: PathBuf,
}

impl Pending {
    fn post(folder: &Path, timeout: Duration, migration: Option<String>) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::at(folder))?;
        let id = uuid::Uuid::new_v4().simple();
        let pending = Self {
            request: folder.join(format!("{REQUEST}{id}")),
            response: folder.join(format!("{RESPONSE}{id}")),
        };
        let expires = unix_seconds() + timeout.as_secs_f64();
        let text = serde_json::to_vec(&Request { expires, migration })
            .map_err(|error| Error::Refused(error.to_string()))?;
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

/// A migration's id as part of a file's name.
fn plain(id: &str) -> String {
    id.replace(['/', '.'], "_")
}

fn below(prefix: &Path, manifest: Manifest) -> Manifest {
    let join = |path: &str| prefix.join(path).display().to_string();
    Manifest {
        step: manifest.step,
        epoch: manifest.epoch,
        timings: manifest.timings,
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
            timings: None,
        }
    }

    async fn ask_with(dir: &Path, mount: &Path, response: Response) -> Result<Manifest, Error> {
        let desk = Desk::open(dir, "w").unwrap();
        let counter = Counter::of(dir, "w");
        let trainer = async {
            loop {
                if let Some((id, _)) = desk.request() {
                    assert!(desk.answer(&id, &response).unwrap());
                    assert_eq!(desk.request(), None, "answered once");
                    break;
                }
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::join!(counter.ask(mount, Duration::from_secs(9), None), trainer).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_manifest_is_relative_to_the_mount() {
        let mount = tempfile::tempdir().unwrap();
        let dir = mount.path().join("checkpoints");
        let response = Response::Written(manifest("ckpt-8-w"));
        let printed = ask_with(&dir, mount.path(), response).await.unwrap();
        assert_eq!(printed, manifest("checkpoints/ckpt-8-w"));
        assert_eq!(
            fs::read_dir(dir.join(FOLDER).join("w")).unwrap().count(),
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
        let counter = Counter::of(dir.path(), "w");
        let asked = counter.ask(dir.path(), Duration::from_secs(5), None).await;
        let error = asked.unwrap_err();
        assert!(error.to_string().contains("no trainer answered"), "{error}");
        assert_eq!(fs::read_dir(counter.folder).unwrap().count(), 0);
    }

    #[test]
    fn a_request_that_nobody_waits_for_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let desk = Desk::open(dir.path(), "w").unwrap();
        let old = serde_json::to_vec(&Request {
            expires: 1.0,
            migration: None,
        })
        .unwrap();
        fs::write(desk.folder.join("request-old"), old).unwrap();
        fs::write(desk.folder.join("request-broken"), "{").unwrap();
        assert_eq!(desk.request(), None);
        assert!(!desk.answer("gone", &Response::Failed(String::new())).unwrap());
    }

    fn pair(dir: &Path, pod: &str) -> (Desk, Counter) {
        (Desk::open(dir, pod).unwrap(), Counter::of(dir, pod))
    }

    #[test]
    fn a_release_ends_the_hold_of_its_own_pod() {
        let dir = tempfile::tempdir().unwrap();
        let ((desk, counter), (other, _)) = (pair(dir.path(), "a"), pair(dir.path(), "b"));
        desk.hold().unwrap();
        assert!(!other.holds(), "another trainer's hold is not mine");
        other.hold().unwrap();
        counter.release(None).unwrap();
        assert_eq!((desk.holds(), other.holds()), (false, true));
        counter.release(None).unwrap();
        other.close();
        assert!(!other.folder.exists());
    }

    #[test]
    fn a_request_is_for_the_trainer_of_its_own_pod() {
        let dir = tempfile::tempdir().unwrap();
        let ((source, _), (target, counter)) = (pair(dir.path(), "source"), pair(dir.path(), "target"));
        let _pending = Pending::post(&counter.folder, Duration::from_secs(9), None).unwrap();
        assert_eq!(
            source.request(),
            None,
            "the source that still holds still does not answer for it"
        );
        assert!(target.request().is_some());
    }

    /// Fault 17: the exec of a hook was broken off; the hook lives on, and asks when the release has long been there.
    #[test]
    fn a_release_counts_for_what_its_migration_asks_for_later() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, counter) = pair(dir.path(), "a");
        counter.release(Some("m.1")).unwrap();
        let ask =
            |migration: &str| Pending::post(&counter.folder, Duration::from_secs(9), Some(migration.into()));
        let _late = ask("m.1").unwrap();
        assert_eq!(desk.request(), None);
        let _other = ask("m.2").unwrap();
        assert!(desk.request().is_some(), "another migration is another matter");
        desk.close();
        assert_eq!(
            pair(dir.path(), "a").0.released(),
            ["m.1"],
            "also when the trainer is started again"
        );
    }

    #[test]
    fn a_release_of_everything_withdraws_what_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, counter) = pair(dir.path(), "a");
        let _pending = Pending::post(&counter.folder, Duration::from_secs(9), None).unwrap();
        let (id, _) = desk.request().unwrap();
        counter.release(None).unwrap();
        assert!(
            !desk.answer(&id, &Response::Failed(String::new())).unwrap(),
            "the trainer goes on"
        );
    }

    #[tokio::test]
    async fn a_directory_outside_the_mount_is_refused() {
        let counter = Counter::of(Path::new("/a"), "w");
        let error = counter.ask(Path::new("/b"), Duration::from_secs(1), None).await;
        assert!(error.unwrap_err().to_string().contains("not below --mount /b"));
    }
}
