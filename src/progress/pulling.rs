//! How far an image is: a spinner on a terminal, a line for each phase elsewhere.

use std::{
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{HumanBytes, ProgressBar};

use crate::embedded::images::PullProgress;

/// Shows how far an image is being fetched.
#[derive(Debug)]
pub struct Pulling {
    bar: ProgressBar,
    last: Mutex<String>,
}

impl Pulling {
    /// Begin.
    pub fn start(image: &str) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.enable_steady_tick(Duration::from_millis(250));
        let _ = writeln!(
            anstream::stderr(),
            "image   {image} is not in the cache yet: building it, once"
        );
        Self {
            bar,
            last: Mutex::default(),
        }
    }

    /// Show how far it is: every change on a terminal, every phase elsewhere.
    pub fn show(&self, progress: &PullProgress) {
        let bytes = progress
            .bytes
            .map(|bytes| format!("  {}", HumanBytes(bytes)))
            .unwrap_or_default();
        self.bar.set_message(format!("{}{bytes}", progress.phase));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bar.is_hidden() && *last != progress.phase {
            let _ = writeln!(anstream::stderr(), "        {}", progress.phase);
            last.clone_from(&progress.phase);
        }
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
