//! Reading what is in the files of a log.

use std::{
    collections::VecDeque,
    io::{self, SeekFrom},
    ops::RangeInclusive,
    path::Path,
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt, AsyncSeekExt, BufReader},
    sync::mpsc,
};

use super::numbered;
use crate::embedded::LogOptions;

/// A reader of one of the files.
pub(super) struct Reader {
    pub(super) number: u64,
    lines: BufReader<tokio::fs::File>,
    /// Bytes behind it.
    at: u64,
    /// Whether what comes next begins a line.
    pub(super) begins: bool,
    timestamps: bool,
    since: Option<Timestamp>,
}

impl Reader {
    /// The first of the files that is there.
    pub(super) async fn open(
        path: &Path,
        numbers: RangeInclusive<u64>,
        options: &LogOptions,
    ) -> io::Result<Option<Self>> {
        for number in numbers {
            match tokio::fs::File::open(numbered(path, number)).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => {
                    return Ok(Some(Self {
                        number,
                        lines: BufReader::new(file?),
                        at: 0,
                        begins: true,
                        timestamps: options.timestamps,
                        since: options.since,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// The next line, if there is one before the end. A line that is being written is before none.
    async fn next(&mut self, end: u64) -> io::Result<Option<Line>> {
        if self.at >= end {
            return Ok(None);
        }
        let mut line = Line::default();
        let read = self.lines.read_until(b'\n', &mut line.0).await?;
        self.at += read as u64;
        Ok((read > 0).then_some(line))
    }

    /// Go to where the last lines before the end begin.
    pub(super) async fn skip_to_last(&mut self, count: u64, end: u64) -> io::Result<()> {
        let mut starts = VecDeque::new();
        let mut start = self.at;
        while self.next(end).await?.is_some() {
            starts.push_back(start);
            if starts.len() as u64 > count {
                starts.pop_front();
            }
            start = self.at;
        }
        self.at = starts.pop_front().unwrap_or(start);
        self.lines.seek(SeekFrom::Start(self.at)).await?;
        Ok(())
    }

    /// Send what is young enough, up to the end; false when nobody listens any more.
    pub(super) async fn send_until(&mut self, end: u64, chunks: &mpsc::Sender<Vec<u8>>) -> io::Result<bool> {
        while let Some(line) = self.next(end).await? {
            if self
                .since
                .is_some_and(|since| line.time().is_some_and(|time| time < since))
            {
                continue;
            }
            let text = line.render(self.timestamps && self.begins);
            self.begins = line.is_last_part();
            if chunks.send(text).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// One line of the file.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Line {
    /// Time, stream, tag, text with its end of line.
    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        self.0.splitn(4, |byte| *byte == b' ')
    }

    fn is_last_part(&self) -> bool {
        self.fields().nth(2) != Some(b"P")
    }

    fn time(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.fields().next()?).ok()?.parse().ok()
    }

    /// What the container printed, with the time before it if asked for.
    fn render(&self, timestamps: bool) -> Vec<u8> {
        let fields: Vec<&[u8]> = self.fields().collect();
        let [time, _, _, text] = fields[..] else {
            return self.0.clone();
        };
        let text = if self.is_last_part() {
            text
        } else {
            text.strip_suffix(b"\n").unwrap_or(text)
        };
        if timestamps {
            [time, b" ", text].concat()
        } else {
            text.to_vec()
        }
    }
}
