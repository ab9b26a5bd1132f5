//! `migbench clean-volume`: what the pod runs that removes a run's directories from a volume.

use std::{fs, io, path::PathBuf};

use crate::error::Error;

/// Remove the entries below a directory whose names begin with a prefix; prints how many there were.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// How the names begin.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    prefix: String,
}

/// Run the command.
#[expect(clippy::unused_async, reason = "all commands have one signature")]
pub async fn execute(args: Args) -> Result<(), Error> {
    let count = clean(&args).map_err(|error| {
        let root = args.root.display();
        Error::Internal(anyhow::anyhow!("{root}: {error}"))
    })?;
    super::print(format!("{count}\n").as_bytes())
}

/// A symbolic link is removed itself, never what it leads to.
fn clean(args: &Args) -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(&args.root)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(&args.prefix) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_begins_so_is_removed_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("run-a-1/deep/er")).unwrap();
        fs::write(at("run-a-1/deep/file"), "x").unwrap();
        fs::create_dir(at("run-b-1")).unwrap();
        fs::write(at("run-b-1/file"), "x").unwrap();
        std::os::unix::fs::symlink(at("run-b-1"), at("run-a-link")).unwrap();
        let args = Args {
            root: root.path().to_owned(),
            prefix: "run-a-".into(),
        };
        assert_eq!(clean(&args).unwrap(), 2);
        assert!(at("run-b-1/file").is_file());
        let left = fs::read_dir(root.path()).unwrap().count();
        assert_eq!(left, 1);
        assert_eq!(clean(&args).unwrap(), 0);
    }
}
