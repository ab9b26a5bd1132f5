//! How far a log has been read, and what of it was seen before where it is opened again.

use std::collections::VecDeque;

use jiff::Timestamp;

/// How far a log has been read.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// Time of the newest line. The lines of stdout and stderr can be a little out of order.
    pub(super) newest: Option<Timestamp>,
    /// Times of the last lines, from [`Self::since`] on.
    recent: VecDeque<Timestamp>,
}

impl Position {
    /// From when on a log that is opened again has to be sent. The API counts in whole seconds.
    pub(super) fn since(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.newest?.as_second() - 1).ok()
    }

    pub(super) fn note(&mut self, time: Timestamp) {
        self.newest = self.newest.max(Some(time));
        self.recent.push_back(time);
        let since = self.since();
        while self.recent.front().is_some_and(|first| Some(*first) < since) {
            self.recent.pop_front();
        }
    }

    pub(super) fn overlap(&self) -> Overlap {
        let since = self.since();
        Overlap {
            since,
            lines: self.recent.iter().filter(|time| Some(**time) >= since).count(),
            newest: self.newest,
        }
    }
}

/// What of a log that is opened again was seen before.
#[derive(Debug)]
pub(super) struct Overlap {
    /// Older lines are there only if the server does not know `sinceTime`.
    since: Option<Timestamp>,
    /// How many lines follow that were seen.
    lines: usize,
    /// None of these is newer.
    pub(super) newest: Option<Timestamp>,
}

impl Overlap {
    /// Whether the next line, of this time, was seen before.
    pub(super) fn covers(&mut self, time: Timestamp) -> bool {
        if Some(time) < self.since {
            return true;
        }
        let seen = self.lines > 0 && Some(time) <= self.newest;
        self.lines = if seen { self.lines - 1 } else { 0 };
        seen
    }
}
