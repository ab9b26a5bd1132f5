//! A trainer as the one writer of a volume: what it goes on from, the epoch in which it writes, and when it may go on after
//! it has handed over a checkpoint. Nothing here asks a clock.

use std::path::{Path, PathBuf};

use super::{
    Error,
    checkpoint::{self, Stored},
    epoch::{Claims, Identity},
    weights::Weights,
};
use crate::contract::workload::Manifest;

/// Own periodic checkpoints that are kept, for the monitor and for a restart in place.
const KEEP: usize = 2;
/// Of that many periodic checkpoints one is made durable; it is kept until the next one that is.
const DURABLE: u32 = 30;

/// The only one that may step, as long as nobody has claimed the epoch after its own.
#[derive(Debug, Clone)]
pub struct Writer {
    dir: PathBuf,
    claims: Claims,
    who: Identity,
    epoch: u64,
    /// The checkpoint that the pod was made to go on from: the source's, should the migration be undone.
    floor: Option<PathBuf>,
    /// Step of the newest durable checkpoint of this epoch, and how many came after it.
    durable: Option<(u64, u32)>,
}

/// What a trainer goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The step that it holds.
    pub step: u64,
    /// Where it lies.
    pub from: PathBuf,
}

/// What `who` goes on from: the newest checkpoint of its own epochs that can be read, else `floor`, else nothing. It is
/// loaded.
///
/// # Errors
/// [`Error::Superseded`] when another one may write; a checkpoint that cannot be read where there is no other one.
pub fn restore(
    dir: &Path,
    who: &Identity,
    floor: Option<&Path>,
    weights: &mut Weights,
) -> Result<Option<Restored>, Error> {
    let claimed = Claims::of(dir).list()?;
    who.due(&claimed)?;
    let own = |stored: &Stored| {
        let claim = claimed.get(&stored.epoch);
        claim.is_some_and(|claim| claim.holder == who.holder)
    };
    let own = checkpoint::lineage(dir, &claimed).into_iter().filter(own);
    let candidates = own.map(|stored| stored.path).chain(floor.map(Path::to_owned));
    match first_whole(candidates, weights)? {
        None if who
            .first_of(&claimed)
            .is_some_and(|(_, claim)| claim.step > Some(0)) =>
        {
            let reason = "holds nothing that this pod has written or gone on from".to_owned();
            Err(Error::unusable(dir, reason))
        }
        restored => Ok(restored),
    }
}

/// The checkpoint that the first epoch of `who` began with, another pod's: to one that took over, what `floor` is to others.
///
/// # Errors
/// The claims cannot be read.
pub(crate) fn origin(dir: &Path, who: &Identity) -> Result<Option<PathBuf>, Error> {
    let claimed = Claims::of(dir).list()?;
    let Some((first, claim)) = who.first_of(&claimed) else {
        return Ok(None);
    };
    let mut lineage = checkpoint::lineage(dir, &claimed).into_iter();
    let began = lineage.find(|stored| stored.epoch < first && claim.step == Some(stored.step));
    Ok(began.map(|stored| stored.path))
}

/// The newest checkpoint on the volume that can be read, whoever has written it. It is loaded.
///
/// # Errors
/// There are some, and none can be read.
pub(crate) fn newest(dir: &Path, weights: &mut Weights) -> Result<Option<Restored>, Error> {
    let lineage = checkpoint::lineage(dir, &Claims::of(dir).list()?);
    first_whole(lineage.into_iter().map(|stored| stored.path), weights)
}

fn first_whole(
    candidates: impl Iterator<Item = PathBuf>,
    weights: &mut Weights,
) -> Result<Option<Restored>, Error> {
    let mut unusable = None;
    for from in candidates {
        match checkpoint::load(&from, weights) {
            Ok(step) => return Ok(Some(Restored { step, from })),
            Err(error) => {
                tracing::warn!("{error}");
                unusable = Some(error);
            }
        }
    }
    unusable.map_or(Ok(None), Err)
}

impl Writer {
    /// Claim the epoch that is due to `who`, who goes on from `step` and was made to go on from `floor` at least.
    ///
    /// # Errors
    /// [`Error::Superseded`] when another one may write.
    pub fn claim(dir: &Path, who: Identity, step: u64, floor: Option<PathBuf>) -> Result<Self, Error> {
        let claims = Claims::of(dir);
        let epoch = claims.claim_due(&who, step)?;
        Ok(Self {
            dir: dir.to_owned(),
            claims,
            who,
            epoch,
            floor,
            durable: None,
        })
    }

    /// The epoch that it writes in.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Fail where another one has claimed the next epoch. A volume that does not answer is no reason to stop.
    ///
    /// # Errors
    /// [`Error::Superseded`].
    pub fn check(&self) -> Result<(), Error> {
        match self.claims.check(self.epoch) {
            Err(error @ Error::Superseded { .. }) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Write a periodic checkpoint, and remove what it makes superfluous.
    ///
    /// # Errors
    /// [`Error::Superseded`] where another one has claimed the next epoch: then it makes nothing superfluous, for that claim
    /// may make it void. A volume that does not answer.
    pub fn checkpoint(&mut self, step: u64, weights: &mut Weights) -> Result<(), Error> {
        let durable = self.durable.is_none_or(|(_, since)| since + 1 >= DURABLE);
        checkpoint::write(&self.dir, self.epoch, step, weights, durable)?;
        self.durable = match self.durable {
            Some((kept, since)) if !durable => Some((kept, since + 1)),
            _ => Some((step, 0)),
        };
        self.claims.check(self.epoch)?;
        self.prune();
        Ok(())
    }

    /// Remove what came before: own checkpoints except the newest and the durable one, and all of earlier epochs except
    /// `floor`, made on request or by whoever was superseded. This epoch has a durable one by now.
    fn prune(&self) {
        let (checkpoints, unfinished) = checkpoint::until(&self.dir, self.epoch);
        let (own, mut earlier): (Vec<_>, Vec<_>) = checkpoints
            .into_iter()
            .partition(|stored| stored.epoch == self.epoch);
        let floor = self.floor.as_ref().and_then(|floor| floor.file_name());
        earlier.retain(|stored| floor.is_none() || stored.path.file_name() != floor);
        let durable = self.durable.map(|(step, _)| step);
        let superfluous = own
            .iter()
            .rev()
            .skip(KEEP)
            .filter(|stored| Some(stored.step) != durable);
        superfluous
            .chain(&earlier)
            .chain(&unfinished)
            .for_each(Stored::remove);
    }

    /// Write a checkpoint that another one may go on from. Where nobody hears of it, it is one like the others.
    ///
    /// # Errors
    /// [`Error::Superseded`] where another one has claimed the next epoch, also one whose migration is over by now: that
    /// claim makes void what this epoch writes later. A volume that does not answer.
    pub fn hand_over(&self, step: u64, weights: &mut Weights) -> Result<Manifest, Error> {
        let written = checkpoint::write(&self.dir, self.epoch, step, weights, true)?;
        self.claims.check(self.epoch)?;
        Ok(written)
    }

    /// Claim the next epoch, after a checkpoint of `step` was handed over: whoever went on from it would have claimed that,
    /// unless its migration is `over`. Until this succeeds no step is made; on any other error than [`Error::Superseded`] it
    /// may be tried again.
    ///
    /// # Errors
    /// [`Error::Superseded`] when another one has it.
    pub fn go_on(&mut self, step: u64, over: Vec<String>) -> Result<(), Error> {
        self.who.over = over;
        self.epoch = self.claims.claim_after(self.epoch, &self.who, step)?;
        self.durable = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(holder: &str, after: Option<u64>) -> Identity {
        Identity {
            holder: holder.into(),
            life: uuid::Uuid::new_v4().to_string(),
            after,
            migration: None,
            over: Vec::new(),
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let stored = checkpoint::until(dir, u64::MAX).0;
        let name = |stored: &Stored| format!("{}-{}", stored.step, stored.epoch);
        stored.iter().map(name).collect()
    }

    /// Fault 18: a checkpoint that a migration asked for stays as long as it is of use, and no longer.
    #[test]
    fn what_was_asked_for_goes_when_it_is_of_no_more_use() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let few = &mut Weights::new(100, 0);
        let mut source = Writer::claim(dir, pod("source", None), 0, None).unwrap();
        for step in 1..=5 {
            source.checkpoint(step, few).unwrap();
        }
        assert_eq!(
            names(dir),
            ["1-1", "4-1", "5-1"],
            "the durable one and the newest"
        );
        source.hand_over(6, few).unwrap();
        source.go_on(6, Vec::new()).unwrap();
        source.checkpoint(7, few).unwrap();
        assert_eq!(names(dir), ["7-2"]);

        let floor = dir.join(source.hand_over(8, few).unwrap().directory);
        let mut target = Writer::claim(dir, pod("target", Some(2)), 8, Some(floor.clone())).unwrap();
        target.checkpoint(9, few).unwrap();
        assert_eq!(
            names(dir),
            ["8-2", "9-3"],
            "the source may yet have to start from its own"
        );
        target.checkpoint(10, few).unwrap();
        let restored = restore(dir, &pod("target", Some(2)), Some(&floor), few).unwrap();
        assert_eq!(
            restored.map(|restored| restored.step),
            Some(10),
            "fault 7: a floor is no pin"
        );
        assert!(matches!(source.check(), Err(Error::Superseded { epoch: 3, .. })));
    }

    /// A source that was cut off while another one took over, which was undone: restarted, it would begin where that did.
    #[test]
    fn what_is_written_beside_a_later_claim_is_not_handed_over_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, few) = (dir.path(), &mut Weights::new(100, 0));
        let mut source = Writer::claim(dir, pod("source", None), 0, None).unwrap();
        Writer::claim(dir, pod("target", None), 0, None).unwrap();
        let handed_over = source.hand_over(1, few);
        assert!(matches!(handed_over, Err(Error::Superseded { epoch: 2, .. })));
        let saved = source.checkpoint(2, few);
        assert!(matches!(saved, Err(Error::Superseded { epoch: 2, .. })));
        assert_eq!(names(dir), ["1-1", "2-1"], "nothing is superfluous");
    }

    /// A pod that took over has no variable that says what from, and may be started again before its first checkpoint.
    #[test]
    fn who_has_no_checkpoint_yet_goes_on_from_what_its_first_epoch_began_with() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, few) = (dir.path(), &mut Weights::new(100, 0));
        let mut source = Writer::claim(dir, pod("source", None), 0, None).unwrap();
        source.checkpoint(4, few).unwrap();
        let floor = dir.join(source.hand_over(5, few).unwrap().directory);
        source.checkpoint(6, few).unwrap();
        for _ in 0..2 {
            Writer::claim(dir, pod("target", Some(1)), 5, Some(floor.clone())).unwrap();
            let again = pod("target", None);
            let known = origin(dir, &again).unwrap();
            assert_eq!(known.as_ref(), Some(&floor));
            let restored = restore(dir, &again, known.as_deref(), few).unwrap().unwrap();
            assert_eq!(restored.step, 5);
        }
        assert_eq!(origin(dir, &pod("source", None)).unwrap(), None);
        let from_nothing = restore(dir, &pod("target", None), None, few);
        assert!(from_nothing.unwrap_err().to_string().contains("holds nothing"));
    }
}
