//! `migbench cleanup`: what runs left on a cluster.

use std::time::Duration;

use jiff::Timestamp;

use super::cluster_args::ClusterArgs;
use crate::{
    deploy::{
        leftovers::{self, Leftover},
        place::Place,
    },
    error::Error,
    install,
};

/// Remove what runs left on a cluster: found by label, also outside of namespaces. A run that ends by itself, by an error
/// or by a signal leaves nothing; one that was killed does.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Look into this namespace alone, for who may not look into all.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Image that holds this program, to remove directories from volumes with; without, the one that `migbench deploy`
    /// installed.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Print what would be removed, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Which runs.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// What this run left; a beginning of its id is enough.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// What all runs left, also those that are going on.
    #[arg(long)]
    pub all: bool,
    /// What runs left that must have ended by now; each run notes when that is.
    #[arg(long)]
    pub expired: bool,
    /// What runs left that began longer ago than this.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub older_than: Option<Duration>,
}

impl Which {
    fn means(&self, leftover: &Leftover, now: Timestamp) -> bool {
        match (&self.run, self.older_than) {
            (Some(run), _) => leftover.place.run.starts_with(run.as_str()),
            (None, Some(age)) => leftover
                .since
                .is_some_and(|since| now.duration_since(since).unsigned_abs() > age && since < now),
            (None, None) if self.expired => leftover.place.expires.is_some_and(|expires| expires < now),
            (None, None) => self.all,
        }
    }
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let cluster = args.cluster.real()?.connect().await?;
    let image = match args.image {
        Some(image) => image,
        None => install::image::installed(&cluster.client).await?,
    };
    let found = leftovers::find(&cluster.client, args.namespace.as_deref(), &image).await?;
    let now = Timestamp::now();
    let meant: Vec<_> = found
        .into_iter()
        .filter(|leftover| args.which.means(leftover, now))
        .collect();
    if meant.is_empty() {
        super::say(&format!("nothing to remove on {}", cluster.name));
    }
    let mut outcome = Ok(());
    for leftover in meant {
        let Place { run, namespace, .. } = &leftover.place;
        super::say(&format!("run {run}, namespace {namespace}"));
        if args.dry_run {
            for object in &leftover.objects {
                super::say(&format!("  would remove {object}"));
            }
        } else {
            let removed = leftover
                .place
                .leave(&cluster.client, |line| super::say(&format!("  {line}")))
                .await;
            outcome = outcome.and(removed);
        }
    }
    Ok(outcome?)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn leftover(since: Timestamp) -> Leftover {
        Leftover {
            place: Place::new("0199aaaa-1", None, "i"),
            since: Some(since),
            objects: Vec::new(),
        }
    }

    #[test]
    fn runs_are_chosen_by_id_by_age_or_all() {
        let now = Timestamp::now();
        let which = |run: Option<&str>, all, older_than| Which {
            run: run.map(str::to_owned),
            all,
            expired: false,
            older_than,
        };
        let old = leftover(now.checked_sub(3.hours()).unwrap());
        let ahead = leftover(now.checked_add(3.hours()).unwrap());
        assert!(which(Some("0199a"), false, None).means(&old, now));
        assert!(!which(Some("0200"), false, None).means(&old, now));
        assert!(which(None, true, None).means(&old, now));
        let two_hours = Some(Duration::from_secs(7200));
        assert!(which(None, false, two_hours).means(&old, now));
        assert!(!which(None, false, Some(Duration::from_secs(14400))).means(&old, now));
        assert!(
            !which(None, false, two_hours).means(&ahead, now),
            "a clock that is behind"
        );
        let expired = Which {
            expired: true,
            ..which(None, false, None)
        };
        let mut until = old.clone();
        until.place.expires = now.checked_sub(1.hour()).ok();
        assert!(expired.means(&until, now));
        until.place.expires = now.checked_add(1.hour()).ok();
        assert!(!expired.means(&until, now));
    }
}
