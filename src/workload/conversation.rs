//! Conversations by small files in a folder of the pod's own beside the checkpoints: a command that is run by exec asks, the
//! process beside it answers. A file left by one that died has no effect: requests expire and are withdrawn by who asked,
//! and a response has one reader.

use std::{
    fs,
    marker::PhantomData,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Error, LOOK, durable::write_atomically, unix_seconds};

const FOLDER: &str = ".hook";

/// Prefixes of the names of a request and of its response; their ids follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) request: &'static str,
    pub(crate) response: &'static str,
}

/// A checkpoint, of the trainer.
pub(crate) const CHECKPOINT: Subject = Subject {
    request: "request-",
    response: "response-",
};
/// A take-over, of the trainer that stands by.
pub(crate) const TAKE_OVER: Subject = Subject {
    request: "take-over-",
    response: "taken-over-",
};

/// What is asked, and until when.
#[derive(Debug, Serialize, Deserialize)]
struct Request<T> {
    /// Unix time, seconds, after which nobody waits for the answer.
    expires: f64,
    #[serde(flatten)]
    asked: T,
}

/// The folder of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// That of the pod `holder` whose checkpoints lie in `dir`. Another pod on the same volume has its own, and so answers no
    /// request that is not for it.
    pub(crate) fn of(dir: &Path, holder: &str) -> Self {
        Self(dir.join(FOLDER).join(holder))
    }

    pub(crate) fn create(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.0).map_err(Error::at(&self.0))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Files whose name begins with `prefix`: the rest of the name, and the path.
    pub(crate) fn entries(&self, prefix: &str) -> Vec<(String, PathBuf)> {
        let names = fs::read_dir(&self.0).into_iter().flatten().filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.strip_prefix(prefix)?;
            (!name.contains('.')).then(|| (name.to_owned(), path.clone()))
        });
        names.collect()
    }

    pub(crate) fn remove(&self, prefixes: &[&str]) {
        for (_, path) in prefixes.iter().flat_map(|prefix| self.entries(prefix)) {
            let _ = fs::remove_file(path);
        }
    }

    /// Leave it, unless something stays in it.
    pub(crate) fn leave(&self) {
        let _ = fs::remove_dir(&self.0);
    }

    /// What is asked that somebody still waits for, with its id.
    ///
    /// Who asks withdraws the request before the response. Looked at in the other order, a request that is answered and
    /// just being withdrawn is never taken for a new one.
    pub(crate) fn asked<T: DeserializeOwned>(&self, subject: Subject) -> Vec<(String, T)> {
        let open = |(id, path): (String, PathBuf)| {
            if self.response(subject, &id).exists() {
                return None;
            }
            let request: Request<T> = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
            (request.expires > unix_seconds()).then_some((id, request.asked))
        };
        self.entries(subject.request)
            .into_iter()
            .filter_map(open)
            .collect()
    }

    /// Whether somebody waits for the answer.
    pub(crate) fn waits(&self, subject: Subject, id: &str) -> Result<bool, Error> {
        let request = self.request(subject, id);
        request.try_exists().map_err(Error::at(&request))
    }

    /// Answer. False when nobody waits for it any more.
    ///
    /// # Errors
    /// The response may be there all the same, and may have been read.
    pub(crate) fn answer(
        &self,
        subject: Subject,
        id: &str,
        response: &impl Serialize,
    ) -> Result<bool, Error> {
        if !self.waits(subject, id)? {
            return Ok(false);
        }
        write_json(&self.response(subject, id), response).map(|()| true)
    }

    fn request(&self, subject: Subject, id: &str) -> PathBuf {
        self.file(&format!("{}{id}", subject.request))
    }

    fn response(&self, subject: Subject, id: &str) -> PathBuf {
        self.file(&format!("{}{id}", subject.response))
    }

    /// Ask, and wait for the answer that long.
    pub(crate) fn ask<R: DeserializeOwned>(
        &self,
        subject: Subject,
        asked: impl Serialize,
        timeout: Duration,
    ) -> Result<Pending<R>, Error> {
        self.create()?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let pending = Pending {
            request: self.request(subject, &id),
            response: self.response(subject, &id),
            timeout,
            answer: PhantomData,
        };
        let expires = unix_seconds() + timeout.as_secs_f64();
        write_json(&pending.request, &Request { expires, asked })?;
        Ok(pending)
    }
}

/// A request that is withdrawn when dropped.
pub(crate) struct Pending<R> {
    request: PathBuf,
    response: PathBuf,
    timeout: Duration,
    answer: PhantomData<R>,
}

impl<R: DeserializeOwned> Pending<R> {
    /// The answer; none where nobody gave one in time.
    pub(crate) async fn answer(&self) -> Result<Option<R>, Error> {
        let answered = async {
            loop {
                if let Ok(text) = fs::read(&self.response) {
                    return serde_json::from_slice(&text).map_err(|error| Error::Refused(error.to_string()));
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(self.timeout, answered)
            .await
            .ok()
            .transpose()
    }
}

impl<R> Drop for Pending<R> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.request);
        let _ = fs::remove_file(&self.response);
    }
}

fn write_json(path: &Path, content: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec(content).map_err(|error| Error::Refused(error.to_string()))?;
    write_atomically(path, &text)
}

/// A migration's id as part of a file's name.
pub(crate) fn plain(id: &str) -> String {
    id.replace(['/', '.'], "_")
}
