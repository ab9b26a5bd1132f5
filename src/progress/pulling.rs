//! How far an image is: a spinner on a terminal, a line for each phase elsewhere.

use std::{
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{HumanBytes, ProgressBar};

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
    pub fn show(&self, phase: &str, bytes: Option<u64>) {
        let bytes = bytes
            .map(|bytes| format!("  {}", HumanBytes(bytes)))
            .unwrap_or_default();
        self.bar.set_message(format!("{phase}{bytes}"));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bar.is_hidden() && *last != phase {
            let _ = writeln!(anstream::stderr(), "        {phase}");
            phase.clone_into(&mut last);
        }
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
