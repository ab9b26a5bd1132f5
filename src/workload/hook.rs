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
//! A hold ends with its trainer. A release counts for what its migration asks for later as well: a hook whose caller has
//! gone away lives on, and may come to ask when nobody is left to release.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Error,
    conversation::{CHECKPOINT, Folder, TAKE_OVER, plain},
    durable::write_atomically,
    epoch::holder,
};
use crate::contract::workload::{Manifest, ManifestFile};

const RELEASED: &str = "released-";
const HOLD: &str = "hold";

/// A hook's request for a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
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
#[derive(Debug, Clone)]
pub struct Desk {
    pub(super) folder: Folder,
}

impl Desk {
    /// Open the desk of the pod `holder` whose checkpoints lie in `dir`. The hold of an earlier trainer of the pod has ended
    /// with it; what was released stays so. Nothing is written: the folder is made by who asks.
    pub fn open(dir: &Path, holder: &str) -> Self {
        let folder = Folder::of(dir, holder);
        folder.remove(&[CHECKPOINT.response, TAKE_OVER.response, HOLD]);
        Self { folder }
    }

    /// A request that somebody still waits for, with its id.
    pub fn request(&self) -> Option<(String, Request)> {
        let asked = self.folder.asked::<Request>(CHECKPOINT);
        asked
            .into_iter()
            .find(|(_, request)| !self.is_released(request.migration.as_ref()))
    }

    /// Answer a request. False when its hook has given up meanwhile.
    ///
    /// # Errors
    /// The response may be there all the same, and may have been read.
    pub fn answer(&self, id: &str, response: &Response) -> Result<bool, Error> {
        self.folder.answer(CHECKPOINT, id, response)
    }

    /// Say that the trainer holds still.
    pub fn hold(&self) -> Result<(), Error> {
        self.folder.create()?;
        write_atomically(&self.folder.file(HOLD), b"")
    }

    /// Whether nobody has released the hold. Where the volume does not answer nobody has.
    pub fn holds(&self) -> bool {
        self.folder.file(HOLD).try_exists().unwrap_or(true)
    }

    /// Whether a migration was rolled back.
    pub fn is_released(&self, migration: Option<&String>) -> bool {
        migration.is_some_and(|id| self.folder.file(&format!("{RELEASED}{}", plain(id))).exists())
    }

    /// End the hold.
    pub fn go_on(&self) {
        let _ = fs::remove_file(self.folder.file(HOLD));
    }

    /// The migrations that were rolled back.
    pub fn released(&self) -> Vec<String> {
        let markers = self.folder.entries(RELEASED);
        let read = |(_, path): &(String, PathBuf)| fs::read_to_string(path).ok();
        markers.iter().filter_map(read).collect()
    }

    /// The trainer ends, and with it the conversation. What was released must be known to whoever is started again.
    pub fn close(&self) {
        self.folder
            .remove(&[CHECKPOINT.request, CHECKPOINT.response, TAKE_OVER.response, HOLD]);
        self.folder.leave();
    }
}

/// The hook's end.
#[derive(Debug)]
pub struct Counter {
    pub(super) dir: PathBuf,
    pub(super) folder: Folder,
}

impl Counter {
    /// The end towards the trainer of this pod, whose checkpoints lie in `dir`.
    pub fn of_environment(dir: &Path) -> Result<Self, Error> {
        Ok(Self::of(dir, &holder()?))
    }

    /// The end towards the trainer of the pod `holder`.
    pub fn of(dir: &Path, holder: &str) -> Self {
        Self {
            dir: dir.to_owned(),
            folder: Folder::of(dir, holder),
        }
    }

    /// The directory of the checkpoints, relative to a mount at or above it.
    pub(super) fn below(&self, mount: &Path) -> Result<&Path, Error> {
        self.dir.strip_prefix(mount).map_err(|_| {
            let (dir, mount) = (self.dir.display(), mount.display());
            Error::Usage(format!(
                "--dir {dir} is not below --mount {mount}: name the mount that holds it"
            ))
        })
    }

    /// Have the trainer write a checkpoint. Returns its manifest with paths relative to `mount`, at or above the directory of
    /// the checkpoints. The trainer then holds still.
    pub async fn ask(
        &self,
        mount: &Path,
        timeout: Duration,
        migration: Option<String>,
    ) -> Result<Manifest, Error> {
        let prefix = self.below(mount)?;
        let withdrawn_at_end = self.folder.ask(CHECKPOINT, Request { migration }, timeout)?;
        match withdrawn_at_end.answer().await? {
            Some(Response::Written(manifest)) => Ok(below(prefix, manifest)),
            Some(Response::Failed(reason)) => Err(Error::Refused(reason)),
            None => Err(Error::Refused(format!(
                "no trainer answered below {} within {}",
                self.dir.display(),
                humantime::format_duration(timeout)
            ))),
        }
    }

    /// Let the trainer, should it hold still, go on: from what this migration asked for or will ask for, or from
    /// everything where none is named. The migration's pod has ended by now.
    pub fn release(&self, migration: Option<&str>) -> Result<(), Error> {
        self.folder.create()?;
        if let Some(id) = migration {
            let marker = self.folder.file(&format!("{RELEASED}{}", plain(id)));
            return write_atomically(&marker, id.as_bytes());
        }
        // Requests first: a trainer holds before it answers, and answers no request that is gone.
        for (_, path) in [CHECKPOINT.request, HOLD]
            .iter()
            .flat_map(|prefix| self.folder.entries(prefix))
        {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::at(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn below(prefix: &Path, manifest: Manifest) -> Manifest {
    let join = |path: &str| prefix.join(path).display().to_string();
    let files = manifest.files.into_iter().map(|file| ManifestFile {
        path: join(&file.path),
        ..file
    });
    Manifest {
        directory: join(&manifest.directory),
        files: files.collect(),
        ..manifest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::conversation::Pending;

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
        let desk = Desk::open(dir, "w");
        let counter = Counter::of(dir, "w");
        let trainer = async {
            loop {
                if let Some((id, _)) = desk.request() {
                    assert!(desk.answer(&id, &response).unwrap());
                    assert_eq!(desk.request(), None, "answered once");
                    break;
                }
                tokio::time::sleep(crate::workload::LOOK).await;
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
        assert_eq!(Folder::of(&dir, "w").entries("").len(), 0, "no file stays");
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
        assert_eq!(counter.folder.entries("").len(), 0);
    }

    #[test]
    fn a_request_that_nobody_waits_for_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let desk = Desk::open(dir.path(), "w");
        desk.folder.create().unwrap();
        fs::write(desk.folder.file("request-old"), r#"{"expires":1.0}"#).unwrap();
        fs::write(desk.folder.file("request-broken"), "{").unwrap();
        assert_eq!(desk.request(), None);
        assert!(!desk.answer("gone", &Response::Failed(String::new())).unwrap());
    }

    fn post(counter: &Counter, migration: Option<&str>) -> Pending<Response> {
        let request = Request {
            migration: migration.map(Into::into),
        };
        counter
            .folder
            .ask(CHECKPOINT, request, Duration::from_secs(9))
            .unwrap()
    }

    fn pair(dir: &Path, pod: &str) -> (Desk, Counter) {
        (Desk::open(dir, pod), Counter::of(dir, pod))
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
        assert!(!other.folder.file("").exists());
    }

    #[test]
    fn a_request_is_for_the_trainer_of_its_own_pod() {
        let dir = tempfile::tempdir().unwrap();
        let ((source, _), (target, counter)) = (pair(dir.path(), "source"), pair(dir.path(), "target"));
        let _pending = post(&counter, None);
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
        let _late = post(&counter, Some("m.1"));
        assert_eq!(desk.request(), None);
        let _other = post(&counter, Some("m.2"));
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
        let _pending = post(&counter, None);
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
