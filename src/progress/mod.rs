//! The terminal as a listener to a run: a line for what has happened and, on a terminal, a bar for what goes on.
//! Everything goes to stderr; stdout is the result's.

pub mod json;
mod narrator;
mod pulling;
mod window;

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use self::narrator::Narrator;
pub use self::pulling::Pulling;
use crate::{
    run::notice::{Listener, Notice},
    stats::summary::Summary,
    wrap::{hang, stderr_width},
};

/// The listener for this process's stderr: bars on a terminal, plain lines elsewhere.
pub fn listener() -> Box<dyn Listener> {
    if std::io::stderr().is_terminal() {
        Box::new(Bars {
            narrator: Narrator::default(),
            bar: bar(),
        })
    } else {
        lines(anstream::stderr())
    }
}

/// A listener that writes plain lines, for logs and `ssh host migbench run`.
pub fn lines(to: impl Write + Send + 'static) -> Box<dyn Listener> {
    Box::new(Lines {
        narrator: Narrator::default(),
        to,
    })
}

/// A listener that writes a JSON object a line, see [`json`].
pub fn json_lines(to: impl Write + Send + 'static) -> Box<dyn Listener> {
    Box::new(json::Json(to))
}

/// The last line of those.
pub fn summary_line(summary: &Summary) -> serde_json::Result<String> {
    serde_json::to_string(&json::Line::Summary { summary })
}

/// A line about what is done before the first leg, in the form of the lines that come after it.
pub fn preparing(what: &str) {
    let _ = writeln!(anstream::stderr(), "  prepare  {what}");
}

struct Lines<W> {
    narrator: Narrator,
    to: W,
}

impl<W: Write + Send> Listener for Lines<W> {
    fn hear(&mut self, notice: &Notice) -> anyhow::Result<()> {
        for line in self.narrator.hear(notice) {
            // A closed stderr is no reason to end a run.
            let _ = writeln!(self.to, "{line}");
        }
        Ok(())
    }
}

/// Lines above a bar that shows leg, phase, sample and time left.
struct Bars {
    narrator: Narrator,
    bar: ProgressBar,
}

impl Listener for Bars {
    fn hear(&mut self, notice: &Notice) -> anyhow::Result<()> {
        for line in self.narrator.hear(notice) {
            self.bar.println(fitted(&line));
        }
        if matches!(notice, Notice::RunEnded(_)) {
            self.bar.finish_and_clear();
        } else {
            self.bar.set_length(self.narrator.total().as_secs());
            self.bar.set_position(self.narrator.elapsed().as_secs());
            self.bar.set_message(self.narrator.status());
        }
        Ok(())
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line in the width of the screen; a command stays whole, to be copied.
fn fitted(line: &str) -> String {
    match stderr_width() {
        Some(width) if !line.starts_with("watch") => hang(line, width),
        _ => line.to_owned(),
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {bar:16}") {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
