//! Who may write: claims of epochs, one file `<checkpoints>/.epochs/epoch-<n>` each.
//!
//! A claim is made whole under a name of its own and then linked to its place, which fails where another one is there: no
//! clock is asked, no reader sees half of a claim, and NFS 4 can do it. When the link's answer is lost, the content still
//! says whose it is. A claim is never changed and never removed: a late writer must find the place taken.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Error, durable::sync};
use crate::contract::workload::{EPOCH, MIGRATION_ID, POD_UID};

const FOLDER: &str = ".epochs";
const PREFIX: &str = "epoch-";

/// All claims on a volume, by epoch.
pub type Claimed = BTreeMap<u64, Claim>;

/// What a claim says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The pod: its uid, or its name.
    pub holder: String,
    /// Tells one process of the holder from the next.
    #[serde(default)]
    pub life: String,
    /// Migration that made the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<String>,
    /// The step that the epoch begins at. What an earlier epoch made beyond it is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// When, by the holder's clock: for people, nothing depends on it.
    #[serde(default)]
    pub time: String,
}

/// Who claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The pod: its uid, or its name.
    pub holder: String,
    /// This process.
    pub life: String,
    /// Epoch of the checkpoint that the pod was made to go on from: it may claim the next one and no other.
    pub after: Option<u64>,
    /// Migration that made the pod.
    pub migration: Option<String>,
    /// Migrations that were rolled back from this pod. Their pods have ended, and so have the epochs that those claimed.
    pub over: Vec<String>,
}

impl Identity {
    /// Who this process is, by its environment.
    ///
    /// # Errors
    /// A variable that makes no sense, or no host name.
    pub fn of_environment() -> Result<Self, Error> {
        let after = std::env::var(EPOCH).ok().filter(|text| !text.is_empty());
        let after = after.map(|text| {
            text.parse()
                .map_err(|_| Error::Usage(format!("{EPOCH} is {text:?}, which is no epoch: a whole number")))
        });
        Ok(Self {
            holder: holder()?,
            life: uuid::Uuid::new_v4().simple().to_string(),
            after: after.transpose()?,
            migration: std::env::var(MIGRATION_ID).ok(),
            over: Vec::new(),
        })
    }

    /// The first claim of the pod, of whichever of its processes.
    pub(crate) fn first_of<'c>(&self, claimed: &'c Claimed) -> Option<(u64, &'c Claim)> {
        let own = claimed.iter().find(|(_, claim)| claim.holder == self.holder)?;
        Some((*own.0, own.1))
    }

    fn claim(&self, step: u64) -> Claim {
        Claim {
            holder: self.holder.clone(),
            life: self.life.clone(),
            migration: self.migration.clone(),
            step: Some(step),
            time: jiff::Timestamp::now().to_string(),
        }
    }

    /// The epoch that may be claimed next where these are taken: the one after the last of its own, else after that of the
    /// checkpoint that it shall go on from, else after the newest. Where that is taken, another one may write.
    pub(crate) fn due(&self, claimed: &Claimed) -> Result<u64, Error> {
        let newest = claimed.last_key_value();
        let own = |(epoch, claim): (&u64, &Claim)| (claim.holder == self.holder).then_some(*epoch);
        let last = claimed.iter().rev().find_map(own).or(self.after);
        let last = last.or(newest.map(|(epoch, _)| *epoch)).unwrap_or(0);
        let mut due = last + 1;
        while claimed.get(&due).is_some_and(|claim| self.passes(claim)) {
            due += 1;
        }
        match newest {
            Some((epoch, claim)) if *epoch >= due => Err(superseded(*epoch, claim)),
            _ => Ok(due),
        }
    }

    /// Whether a claim is of a migration that is over.
    fn passes(&self, claim: &Claim) -> bool {
        claim
            .migration
            .as_ref()
            .is_some_and(|migration| self.over.contains(migration))
    }
}

/// The name under which this container's pod claims: its uid, else its host name, which is the pod's name.
pub(crate) fn holder() -> Result<String, Error> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(known) = set(POD_UID).or_else(|| set("HOSTNAME")) {
        return Ok(known.replace('/', "_"));
    }
    let path = Path::new("/proc/sys/kernel/hostname");
    let name = fs::read_to_string(path).map_err(Error::at(path))?;
    Ok(name.trim().to_owned())
}

fn superseded(epoch: u64, claim: &Claim) -> Error {
    let holder = claim.holder.clone();
    Error::Superseded { epoch, holder }
}

/// The claims of a volume.
#[derive(Debug, Clone)]
pub struct Claims {
    folder: PathBuf,
}

impl Claims {
    /// The claims of those whose checkpoints lie in `dir`.
    pub fn of(dir: &Path) -> Self {
        let folder = dir.join(FOLDER);
        Self { folder }
    }

    /// What is claimed. None at all where nobody has ever claimed.
    pub fn list(&self) -> Result<Claimed, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Claimed::new()),
            entries => entries.map_err(Error::at(&self.folder))?,
        };
        let mut claimed = Claimed::new();
        for entry in entries {
            let name = entry.map_err(Error::at(&self.folder))?.file_name();
            let epoch = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
            if let Some(epoch) = epoch {
                claimed.insert(epoch, self.read(epoch)?);
            }
        }
        Ok(claimed)
    }

    /// Claim the epoch that is due to `who`, who goes on from `step`. Returns it.
    ///
    /// # Errors
    /// [`Error::Superseded`] when another one may write, and not this one.
    pub fn claim_due(&self, who: &Identity, step: u64) -> Result<u64, Error> {
        let mut known = self.list()?;
        loop {
            let epoch = who.due(&known)?;
            match self.take(epoch, &who.claim(step))? {
                None => return Ok(epoch),
                Some(other) => known.insert(epoch, other),
            };
        }
    }

    /// Claim the epoch after `epoch`, which `who` holds. Returns it.
    ///
    /// # Errors
    /// [`Error::Superseded`] when another one has it.
    pub fn claim_after(&self, epoch: u64, who: &Identity, step: u64) -> Result<u64, Error> {
        let claim = who.claim(step);
        let mut next = epoch + 1;
        while let Some(other) = self.take(next, &claim)? {
            if !who.passes(&other) {
                return Err(superseded(next, &other));
            }
            next += 1;
        }
        Ok(next)
    }

    /// Fail where the epoch after `epoch` is taken.
    ///
    /// # Errors
    /// [`Error::Superseded`]; any other where it cannot be seen whether it is.
    pub fn check(&self, epoch: u64) -> Result<(), Error> {
        let next = epoch + 1;
        let path = self.path(next);
        if !path.try_exists().map_err(Error::at(&path))? {
            return Ok(());
        }
        Err(superseded(next, &self.read(next)?))
    }

    /// Put a claim in its place. The claim that is there instead, if it is not this one.
    fn take(&self, epoch: u64, claim: &Claim) -> Result<Option<Claim>, Error> {
        fs::create_dir_all(&self.folder).map_err(Error::at(&self.folder))?;
        let text = serde_json::to_vec(claim).map_err(|error| Error::Usage(error.to_string()))?;
        let (partial, place) = (
            self.folder.join(format!(".{}", uuid::Uuid::new_v4().simple())),
            self.path(epoch),
        );
        let linked = write_synced(&partial, &text).and_then(|()| match fs::hard_link(&partial, &place) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
        let _ = fs::remove_file(&partial);
        linked.map_err(Error::at(&place))?;
        sync(&self.folder)?;
        let there = self.read(epoch)?;
        Ok((there.life != claim.life).then_some(there))
    }

    /// A claim that makes no sense is somebody's all the same.
    fn read(&self, epoch: u64) -> Result<Claim, Error> {
        let path = self.path(epoch);
        let text = fs::read(&path).map_err(Error::at(&path))?;
        Ok(serde_json::from_slice(&text).unwrap_or_else(|_| Claim {
            holder: "somebody unknown".to_owned(),
            life: String::new(),
            migration: None,
            step: None,
            time: String::new(),
        }))
    }

    fn path(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("{PREFIX}{epoch}"))
    }
}

fn write_synced(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(holder: &str) -> Identity {
        let life = uuid::Uuid::new_v4().simple().to_string();
        Identity {
            holder: holder.into(),
            life,
            after: None,
            migration: None,
            over: Vec::new(),
        }
    }

    fn target(holder: &str, after: u64) -> Identity {
        Identity {
            after: Some(after),
            migration: Some(format!("m-{holder}")),
            ..pod(holder)
        }
    }

    fn claims() -> (tempfile::TempDir, Claims) {
        let dir = tempfile::tempdir().unwrap();
        let claims = Claims::of(dir.path());
        (dir, claims)
    }

    fn loses_to(claimed: &Result<u64, Error>, winner: &str) {
        assert!(
            matches!(claimed, Err(Error::Superseded { holder, .. }) if holder == winner),
            "{claimed:?}"
        );
    }

    #[test]
    fn of_many_that_claim_one_epoch_one_has_it() {
        let (_dir, claims) = claims();
        claims.claim_due(&pod("source"), 0).unwrap();
        let won = std::thread::scope(|scope| {
            let claim = |n| {
                let claims = &claims;
                move || claims.claim_due(&target(&format!("t{n}"), 1), 7).is_ok()
            };
            let all: Vec<_> = (0..16).map(|n| scope.spawn(claim(n))).collect();
            all.into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|won| *won)
                .count()
        });
        assert_eq!(won, 1);
        assert_eq!(claims.list().unwrap().len(), 2);
        assert_eq!(
            fs::read_dir(&claims.folder).unwrap().count(),
            2,
            "nothing else stays"
        );
    }

    #[test]
    fn a_target_claims_the_epoch_after_its_checkpoint_and_no_other() {
        let (_dir, claims) = claims();
        assert_eq!(claims.claim_due(&pod("source"), 0).unwrap(), 1);
        assert_eq!(claims.claim_due(&target("t", 1), 7).unwrap(), 2);
        loses_to(&claims.claim_due(&target("late", 1), 7), "t");
        assert_eq!(
            claims.claim_due(&target("t", 1), 9).unwrap(),
            3,
            "restarted in place"
        );
        loses_to(&claims.claim_after(1, &pod("source"), 7), "t");
    }

    #[test]
    fn who_was_superseded_stays_so() {
        let (_dir, claims) = claims();
        claims.claim_due(&pod("a"), 0).unwrap();
        assert_eq!(
            claims.claim_due(&pod("b"), 0).unwrap(),
            2,
            "a pod that was never here begins anew"
        );
        loses_to(&claims.claim_due(&pod("a"), 5), "b");
    }

    #[test]
    fn a_source_that_goes_on_shuts_out_a_late_target() {
        let (_dir, claims) = claims();
        let source = pod("source");
        claims.claim_due(&source, 0).unwrap();
        assert_eq!(claims.claim_after(1, &source, 7).unwrap(), 2);
        assert_eq!(
            claims.claim_after(1, &source, 7).unwrap(),
            2,
            "asked again, the answer being lost"
        );
        loses_to(&claims.claim_due(&target("t", 1), 7), "source");
    }

    #[test]
    fn claims_of_a_migration_that_is_over_are_passed_by() {
        let (_dir, claims) = claims();
        let source = |over: &str| Identity {
            over: vec![over.into()],
            ..pod("source")
        };
        claims.claim_due(&source(""), 0).unwrap();
        claims.claim_due(&target("t", 1), 7).unwrap();
        loses_to(&claims.claim_after(1, &source("m-other"), 7), "t");
        loses_to(&claims.claim_due(&source("m-other"), 7), "t");
        assert_eq!(claims.claim_after(1, &source("m-t"), 7).unwrap(), 3);
        assert_eq!(claims.claim_due(&source(""), 7).unwrap(), 4);
        loses_to(&claims.claim_due(&target("t", 1), 9), "source");
    }

    #[test]
    fn who_is_started_again_passes_them_by_too() {
        let (_dir, claims) = claims();
        claims.claim_due(&pod("source"), 0).unwrap();
        claims.claim_due(&target("t", 1), 7).unwrap();
        let again = Identity {
            over: vec!["m-t".into()],
            ..pod("source")
        };
        assert_eq!(claims.claim_due(&again, 7).unwrap(), 3);
    }

    #[test]
    fn a_claim_that_makes_no_sense_is_taken() {
        let (_dir, claims) = claims();
        claims.claim_due(&pod("source"), 0).unwrap();
        fs::write(claims.path(2), "").unwrap();
        loses_to(&claims.claim_due(&target("t", 1), 7), "somebody unknown");
    }
}
