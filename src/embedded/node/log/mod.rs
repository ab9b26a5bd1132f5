//! What containers print: files for each life of a container, in the kubelet's line format
//! `<RFC 3339 time> stdout|stderr F|P <text>`, F for a full line and P for a part of one that goes on in the next. A file
//! that is full is followed by another, and the oldest goes, as with the kubelet; what is read without following is the
//! latest.

mod reader;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    sync::{mpsc, watch},
};

use crate::embedded::LogOptions;
use reader::Reader;

/// Longer lines are kept in parts, so that a container that never ends a line cannot fill the memory.
const LONGEST_PART: u64 = 16 * 1024;
/// The kubelet's `containerLogMaxSize` and `containerLogMaxFiles`.
const LARGEST_FILE: u64 = 10 << 20;
const FILES: u64 = 5;

/// The log of one life of a container. Writers append; readers may follow until it is closed.
#[derive(Debug)]
pub struct Log {
    /// Files are named `<path>.<number>`.
    path: PathBuf,
    file: Mutex<File>,
    progress: watch::Sender<Progress>,
}

/// How far the writers are: in which file, and how many bytes of whole lines it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    number: u64,
    bytes: u64,
    closed: bool,
}

impl Log {
    /// An empty log in new files.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        let file = Mutex::new(new_file(&numbered(&path, 0))?);
        Ok(Self {
            path,
            file,
            progress: watch::Sender::default(),
        })
    }

    /// Append everything that a stream brings, until it ends. What the disk does not take is lost, but the stream goes on:
    /// a container must not die of what happens to its log.
    pub async fn capture(&self, stream: &str, source: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut source = BufReader::new(source);
        let mut part = Vec::new();
        let mut lost = 0_u64;
        while (&mut source)
            .take(LONGEST_PART)
            .read_until(b'\n', &mut part)
            .await?
            > 0
        {
            match self.append(stream, &part) {
                Err(error) if lost == 0 => {
                    tracing::warn!(log = %self.path.display(), %error, "a container's output is lost");
                    lost += 1;
                }
                Err(_) => lost += 1,
                Ok(()) if lost > 0 => {
                    tracing::warn!(log = %self.path.display(), lines = lost, "were lost before this");
                    lost = 0;
                }
                Ok(()) => {}
            }
            part.clear();
        }
        Ok(())
    }

    fn append(&self, stream: &str, part: &[u8]) -> io::Result<()> {
        let (tag, text) = match part.strip_suffix(b"\n") {
            Some(text) => ('F', text),
            None => ('P', part),
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = format!("{:.9} {stream} {tag} ", Timestamp::now()).into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        if self.progress.borrow().bytes >= LARGEST_FILE {
            self.rotate(&mut file)?;
        }
        let before = self.progress.borrow().bytes;
        if let Err(error) = file.write_all(&line) {
            // Half a line is nobody's.
            file.set_len(before)?;
            return Err(error);
        }
        let after = before + line.len() as u64;
        self.progress.send_modify(|progress| progress.bytes = after);
        Ok(())
    }

    fn rotate(&self, file: &mut File) -> io::Result<()> {
        let number = self.progress.borrow().number + 1;
        *file = new_file(&numbered(&self.path, number))?;
        if let Some(oldest) = number.checked_sub(FILES) {
            fs::remove_file(numbered(&self.path, oldest))?;
        }
        self.progress.send_modify(|progress| {
            progress.number = number;
            progress.bytes = 0;
        });
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
        let mut now = *progress.borrow_and_update();
        let Some(mut reader) = Reader::open(&self.path, now.number..=now.number, &options).await? else {
            return Ok(());
        };
        if let Some(lines) = options.tail_lines {
            reader.skip_to_last(lines, now.bytes).await?;
        }
        loop {
            // Nothing is added to a file that has a successor.
            let superseded = reader.number < now.number;
            let end = if superseded { u64::MAX } else { now.bytes };
            if !reader.send_until(end, &chunks).await? || !options.follow {
                return Ok(());
            }
            if superseded {
                // A slow reader may find the next one gone already.
                let Some(next) = Reader::open(&self.path, reader.number + 1..=now.number, &options).await?
                else {
                    return Ok(());
                };
                let begins = reader.begins;
                reader = next;
                reader.begins = begins;
            } else if now.closed {
                return Ok(());
            } else {
                tokio::select! {
                    // The sender is this very log, so that it cannot go away meanwhile.
                    _ = progress.changed() => {}
                    () = chunks.closed() => return Ok(()),
                }
            }
            now = *progress.borrow_and_update();
        }
    }
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Every line goes to the end, wherever the last one was cut off.
fn new_file(path: &Path) -> io::Result<File> {
    File::options().append(true).create_new(true).open(path)
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

    fn sizes(directory: &tempfile::TempDir) -> Vec<u64> {
        let entries = fs::read_dir(directory.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect()
    }

    #[tokio::test]
    async fn full_files_make_way_and_a_follower_misses_nothing() {
        let (directory, log) = log_of("").await;
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let (sender, mut receiver) = mpsc::channel(8);
        let reader = tokio::spawn(Arc::clone(&log).read(options, sender));
        let text = |file: u64| format!("{file} {}\n", "x".repeat(15_000)).into_bytes();
        let lines = LARGEST_FILE / 15_000 + 1;
        for file in 0..7 {
            for _ in 0..lines {
                log.append("stdout", &text(file)).unwrap();
                assert_eq!(receiver.recv().await.unwrap(), text(file));
            }
        }
        let found = sizes(&directory);
        assert_eq!(found.len() as u64, FILES);
        assert!(
            found.iter().all(|size| *size < LARGEST_FILE + 2 * LONGEST_PART),
            "{found:?}"
        );
        let latest = read(&log, LogOptions::default()).await;
        assert!(latest.ends_with(std::str::from_utf8(&text(6)).unwrap()));
        assert!(latest.len() as u64 <= LARGEST_FILE, "the latest file alone");
        let last = LogOptions {
            tail_lines: Some(1),
            ..LogOptions::default()
        };
        assert_eq!(read(&log, last).await.into_bytes(), text(6));
        log.close();
        assert_eq!(receiver.recv().await, None);
        reader.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_follower_that_was_left_behind_goes_on_with_what_is_there() {
        let (_directory, log) = log_of("begin\n").await;
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let (sender, mut receiver) = mpsc::channel(1);
        let reader = tokio::spawn(Arc::clone(&log).read(options, sender));
        assert_eq!(receiver.recv().await.unwrap(), b"begin\n");
        let part = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            log.append("stdout", &part).unwrap();
        }
        log.append("stdout", b"end\n").unwrap();
        log.close();
        let mut last = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            last = chunk;
        }
        assert_eq!(last, b"end\n");
        reader.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_costs_lines_and_not_the_stream() {
        let log = Log {
            path: "/dev/full".into(),
            file: Mutex::new(File::options().write(true).open("/dev/full").unwrap()),
            progress: watch::Sender::default(),
        };
        let text = b"lost\n".repeat(1000);
        let mut printed = text.as_slice();
        log.capture("stdout", &mut printed).await.unwrap();
        assert!(printed.is_empty(), "all of it was taken");
        assert_eq!(log.progress.borrow().bytes, 0);
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
