//! What containers print: one file for each life of a container, in the kubelet's line format
//! `<RFC 3339 time> stdout|stderr F|P <text>`, F for a full line and P for a part of one that goes on in the next.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    sync::{mpsc, watch},
};

use crate::embedded::LogOptions;

/// Longer lines are kept in parts, so that a container that never ends a line cannot fill the memory.
const LONGEST_PART: u64 = 16 * 1024;

/// The log of one life of a container. Writers append; readers may follow until it is closed.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Mutex<File>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    lines: u64,
    closed: bool,
}

impl Log {
    /// An empty log in a new file.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        let file = Mutex::new(File::create(&path)?);
        Ok(Self {
            path,
            file,
            progress: watch::Sender::default(),
        })
    }

    /// Append everything that a stream brings, until it ends.
    pub async fn capture(&self, stream: &str, source: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut source = BufReader::new(source);
        let mut part = Vec::new();
        while (&mut source)
            .take(LONGEST_PART)
            .read_until(b'\n', &mut part)
            .await?
            > 0
        {
            self.append(stream, &part)?;
            part.clear();
        }
        Ok(())
    }

    fn append(&self, stream: &str, part: &[u8]) -> io::Result<()> {
        let (tag, text) = match part.strip_suffix(b"\n") {
            Some(text) => ('F', text),
            None => ('P', part),
        };
        let mut line = format!("{:.9} {stream} {tag} ", Timestamp::now()).into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&line)?;
        self.progress.send_modify(|progress| progress.lines += 1);
        Ok(())
    }

    /// Nothing more will come: readers that follow end.
    pub fn close(&self) {
        self.progress.send_modify(|progress| progress.closed = true);
    }

    /// Wait until nothing more will come.
    pub async fn closed(&self) {
        let mut progress = self.progress.subscribe();
        // The sender is this very log, so that it cannot go away meanwhile.
        let _ = progress.wait_for(|progress| progress.closed).await;
    }

    /// Send what the options ask for, in chunks of whole lines.
    pub async fn read(self: Arc<Self>, options: LogOptions, chunks: mpsc::Sender<Vec<u8>>) -> io::Result<()> {
        let mut progress = self.progress.subscribe();
        let mut lines = BufReader::new(tokio::fs::File::open(&self.path).await?);
        let mut read = progress.borrow_and_update().lines;
        let mut begins = true;
        let mut render = |line: &Line| {
            let text = line.render(options.timestamps && begins);
            begins = line.is_last_part();
            text
        };
        for line in selected(&mut lines, read, &options).await? {
            if chunks.send(render(&line)).await.is_err() {
                return Ok(());
            }
        }
        if !options.follow {
            return Ok(());
        }
        loop {
            let Progress {
                lines: available,
                closed,
            } = *progress.borrow_and_update();
            for line in take(&mut lines, available - read).await? {
                if chunks.send(render(&line)).await.is_err() {
                    return Ok(());
                }
            }
            read = available;
            if closed {
                return Ok(());
            }
            tokio::select! {
                // The sender is this very log, so that it cannot go away meanwhile.
                _ = progress.changed() => {}
                () = chunks.closed() => return Ok(()),
            }
        }
    }
}

/// Of the lines written so far, those that are young enough, and of these the last.
async fn selected(
    lines: &mut BufReader<tokio::fs::File>,
    available: u64,
    options: &LogOptions,
) -> io::Result<VecDeque<Line>> {
    let tail = options
        .tail_lines
        .map_or(usize::MAX, |lines| usize::try_from(lines).unwrap_or(usize::MAX));
    let mut kept = VecDeque::new();
    for _ in 0..available {
        let line = Line::read(lines).await?;
        if options
            .since
            .is_none_or(|since| line.time().is_none_or(|time| time >= since))
        {
            kept.push_back(line);
        }
        if kept.len() > tail {
            kept.pop_front();
        }
    }
    Ok(kept)
}

async fn take(lines: &mut BufReader<tokio::fs::File>, count: u64) -> io::Result<Vec<Line>> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(Line::read(lines).await?);
    }
    Ok(taken)
}

/// One line of the file.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Line {
    async fn read(lines: &mut BufReader<tokio::fs::File>) -> io::Result<Self> {
        let mut line = Self::default();
        lines.read_until(b'\n', &mut line.0).await?;
        Ok(line)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    async fn log_of(text: &str) -> (tempfile::TempDir, Arc<Log>) {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(Log::create(directory.path().join("log")).unwrap());
        log.capture("stdout", text.as_bytes()).await.unwrap();
        (directory, log)
    }

    async fn read(log: &Arc<Log>, options: LogOptions) -> String {
        let (sender, mut receiver) = mpsc::channel(8);
        let reader = tokio::spawn(Arc::clone(log).read(options, sender));
        let mut all = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            all.extend(chunk);
        }
        reader.await.unwrap().unwrap();
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn what_was_printed_is_read_back_unchanged() {
        let long = "x".repeat(40_000);
        let text = format!("one\n\n  two  \n{long}\nno newline");
        let (_directory, log) = log_of(&text).await;
        assert_eq!(read(&log, LogOptions::default()).await, text);
    }

    #[tokio::test]
    async fn tail_counts_from_the_end() {
        let (_directory, log) = log_of("one\ntwo\nthree\n").await;
        let tail = |lines| LogOptions {
            tail_lines: Some(lines),
            ..LogOptions::default()
        };
        assert_eq!(read(&log, tail(2)).await, "two\nthree\n");
        assert_eq!(read(&log, tail(0)).await, "");
        assert_eq!(read(&log, tail(9)).await, "one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn since_drops_what_is_older() {
        let (_directory, log) = log_of("young\n").await;
        let since = |time: Timestamp| LogOptions {
            since: Some(time),
            ..LogOptions::default()
        };
        assert_eq!(read(&log, since(Timestamp::UNIX_EPOCH)).await, "young\n");
        assert_eq!(read(&log, since(Timestamp::now())).await, "");
    }

    #[tokio::test]
    async fn timestamps_come_first_and_once_a_line() {
        let long = "x".repeat(40_000);
        let (_directory, log) = log_of(&format!("a b\n{long}\n")).await;
        let options = LogOptions {
            timestamps: true,
            ..LogOptions::default()
        };
        let printed = read(&log, options).await;
        let lines: Vec<_> = printed
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .collect();
        assert!(lines.iter().all(|(time, _)| time.parse::<Timestamp>().is_ok()));
        let texts: Vec<_> = lines.iter().map(|(_, text)| *text).collect();
        assert_eq!(texts, ["a b", &long]);
    }

    #[tokio::test]
    async fn a_follower_sees_later_lines_and_ends_with_the_log() {
        let (_directory, log) = log_of("first\n").await;
        let (sender, mut receiver) = mpsc::channel(8);
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let reader = tokio::spawn(Arc::clone(&log).read(options, sender));
        assert_eq!(receiver.recv().await.unwrap(), b"first\n");
        log.capture("stderr", &b"second\n"[..]).await.unwrap();
        assert_eq!(receiver.recv().await.unwrap(), b"second\n");
        log.close();
        assert_eq!(receiver.recv().await, None);
        reader.await.unwrap().unwrap();
    }
}
