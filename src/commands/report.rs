//! `migbench report`: a run, read again.

use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::builder::PossibleValuesParser;
use tempfile::NamedTempFile;

use crate::{
    error::Error,
    record::{run::RunRecord, store},
    report::{self, Format, Options, Screen},
    stats::summary::Summary,
};

/// Report on a run, from its record alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id of the run, a unique beginning of it, or a path; the newest run without it.
    pub run: Option<String>,
    /// Form of the report.
    #[arg(long, default_value = "table", value_parser = PossibleValuesParser::new(report::FORMATS.map(|known| known.name)))]
    pub format: String,
    /// All details below the first screen (`table`).
    #[arg(long)]
    pub full: bool,
    /// The metrics with the verdict instead of the samples (`csv`).
    #[arg(long)]
    pub summary: bool,
    /// Write it into this file; the end of its name says in which form (txt, csv, json, html, md, xml, prom). May be
    /// repeated.
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub output: Vec<PathBuf>,
    /// Write it as HTML beside the record and show that in the browser.
    #[arg(long, conflicts_with_all = ["format", "output"])]
    pub open: bool,
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = "results", env = "MIGBENCH_RESULTS")]
    pub results: PathBuf,
}

/// Run the command.
#[expect(clippy::unused_async, reason = "all commands have one signature")]
pub async fn execute(args: Args) -> Result<(), Error> {
    let path = find(&args.results, args.run.as_deref())?;
    let record = read(&path)?;
    let summary = Summary::new(&record);
    let options = Options {
        screen: screen(),
        full: args.full,
        summary: args.summary,
    };
    if args.open {
        let page = path.with_file_name("report.html");
        write_to(std::slice::from_ref(&page), options, &record, &summary)?;
        super::say(&page.display().to_string());
        let opened = open::that_detached(&page);
        return opened.map_err(|error| Error::Usage(format!("no browser could be started: {error}")));
    }
    if !args.output.is_empty() {
        return write_to(&args.output, options, &record, &summary);
    }
    let format = report::by_name(&args.format, options)
        .ok_or_else(|| Error::Usage(format!("no format {:?}", args.format)))?;
    let mut out = BufWriter::new(anstream::stdout().lock());
    match format
        .write(&record, &summary, &mut out)
        .and_then(|()| Ok(out.flush()?))
    {
        Err(error) if !error.is_closed() => Err(Error::Internal(error.into())),
        _ => Ok(()),
    }
}

/// The path of a run's record.
pub(super) fn find(results: &Path, run: Option<&str>) -> Result<PathBuf, Error> {
    store::find(results, run).map_err(|error| Error::Usage(error.to_string()))
}

/// A record; a damaged one is wrong usage.
pub(super) fn read(path: &Path) -> Result<RunRecord, Error> {
    store::read(path).map_err(|error| Error::Usage(error.to_string()))
}

/// The formats that files ask for, by the ends of their names.
pub(super) fn formats(files: &[PathBuf], options: Options) -> Result<Vec<Box<dyn Format>>, Error> {
    let format = |file: &PathBuf| {
        let extension = file.extension().and_then(|extension| extension.to_str());
        let known = extension.and_then(|extension| report::by_extension(extension, options));
        known.ok_or_else(|| {
            let known = report::FORMATS.map(|known| format!(".{}", known.extension));
            Error::Usage(format!(
                "--output {}: a name ends with {}",
                file.display(),
                known.join(", ")
            ))
        })
    };
    files.iter().map(format).collect()
}

/// Write the report into files, each whole or not at all.
pub(super) fn write_to(
    files: &[PathBuf],
    options: Options,
    record: &RunRecord,
    summary: &Summary,
) -> Result<(), Error> {
    let options = Options {
        screen: Screen::default(),
        full: true,
        ..options
    };
    for (file, format) in files.iter().zip(formats(files, options)?) {
        write_one(file, format.as_ref(), record, summary)
            .map_err(|error| Error::Usage(format!("cannot write {}: {error}", file.display())))?;
    }
    Ok(())
}

fn write_one(
    file: &Path,
    format: &dyn Format,
    record: &RunRecord,
    summary: &Summary,
) -> Result<(), report::Error> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut to = BufWriter::new(NamedTempFile::new_in(directory)?);
    format.write(record, summary, &mut to)?;
    let whole = to.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    readable(whole.as_file())?;
    whole.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// A report is for others to read; a temporary file is not.
fn readable(file: &fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// What stdout can show: the terminal's width and colours (`NO_COLOR` respected), or the defaults of a file.
pub fn screen() -> Screen {
    Screen {
        width: comfy_table::Table::new()
            .width()
            .unwrap_or(Screen::default().width),
        colour: anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never,
    }
}
