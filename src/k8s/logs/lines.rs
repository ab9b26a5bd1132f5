//! A log, taken apart into lines with their times.

use std::{io, str};

use bytes::BytesMut;
use jiff::Timestamp;
use tokio_util::codec::Decoder;

/// Longest line that is told, bytes; longer ones are passed over without being kept. A workload may print what it likes.
const LONGEST_LINE: usize = 256 * 1024;

/// A line of a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) time: Option<Timestamp>,
    /// None where it is too long or not text.
    pub(super) text: Option<String>,
    /// Whether its end was there.
    pub(super) whole: bool,
}

/// Splits a log into lines with their times.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Bytes in which there is no end of line.
    searched: usize,
    /// The line is longer than what is kept of it.
    too_long: bool,
}

impl Lines {
    fn line(&mut self, raw: &[u8], whole: bool) -> Line {
        let stamped = raw.iter().position(|byte| *byte == b' ').and_then(|end| {
            let time = str::from_utf8(&raw[..end]).ok()?.parse().ok()?;
            Some((time, &raw[end + 1..]))
        });
        let (time, text) = stamped.map_or((None, raw), |(time, text)| (Some(time), text));
        let text = str::from_utf8(text)
            .ok()
            .filter(|text| !self.too_long && text.len() <= LONGEST_LINE);
        *self = Self::default();
        Line {
            time,
            text: text.map(ToOwned::to_owned),
            whole,
        }
    }
}

impl Decoder for Lines {
    type Item = Line;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Line>> {
        if let Some(end) = buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            let raw = buffer.split_to(self.searched + end + 1);
            return Ok(Some(self.line(&raw[..raw.len() - 1], true)));
        }
        if buffer.len() > LONGEST_LINE {
            buffer.truncate(LONGEST_LINE);
            self.too_long = true;
        }
        self.searched = buffer.len();
        Ok(None)
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Line>> {
        let line = self.decode(buffer)?;
        if line.is_some() || buffer.is_empty() {
            return Ok(line);
        }
        let raw = buffer.split();
        Ok(Some(self.line(&raw, false)))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio_util::codec::FramedRead;

    use super::*;

    #[tokio::test]
    async fn what_is_too_long_or_no_text_is_passed_over() {
        let mut log =
            b"2026-11-24T21:35:47Z a b\n2026-11-24T21:35:47Z \xff\xfe\n2026-11-24T21:35:47Z ".to_vec();
        log.extend(vec![b'x'; 3 * LONGEST_LINE]);
        log.extend(b"\nno time\n\nend");
        let lines: Vec<_> = FramedRead::new(&log[..], Lines::default())
            .map(|line| line.unwrap())
            .map(|line| (line.time.is_some(), line.text, line.whole))
            .collect()
            .await;
        let text = |text: &str| Some(text.to_owned());
        let expected = [
            (true, text("a b"), true),
            (true, None, true),
            (true, None, true),
            (false, text("no time"), true),
            (false, text(""), true),
            (false, text("end"), false),
        ];
        assert_eq!(lines, expected);
    }
}
