//! What goes on while a migration goes on: lines for what has happened and, on a terminal, what is being done now. On
//! stderr; stdout is the result's.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    contract::orchestrator::{Migration, Status, StepRecord},
    wrap::{stderr_width, wrap},
};

/// Width where there is no terminal.
const PLAIN_WIDTH: u16 = 80;
/// Where what was found stands in a line.
const INDENT: &str = "                           ";

/// Columns of the terminal.
pub(super) fn width() -> u16 {
    stderr_width().unwrap_or(PLAIN_WIDTH)
}

/// Show something. A closed stderr is no reason to leave a migration alone.
pub(super) fn tell(text: &str) {
    let _ = write!(anstream::stderr(), "{text}");
}

/// Where it is shown, and how much of it was.
pub(super) struct Screen {
    width: u16,
    bar: Option<ProgressBar>,
    /// Steps whose end was told.
    told: usize,
    now: String,
}

impl Screen {
    pub(super) fn new(width: u16) -> Self {
        Self {
            width,
            bar: std::io::stderr().is_terminal().then(bar),
            told: 0,
            now: String::new(),
        }
    }

    /// Show what is new about the migration.
    pub(super) fn show(&mut self, migration: &Migration) {
        let steps = &migration.details.steps;
        for step in steps
            .iter()
            .skip(self.told)
            .take_while(|step| step.end_time.is_some())
        {
            self.told += 1;
            self.line(&told(step));
        }
        let now = steps.iter().find(|step| step.end_time.is_none());
        let now = match (now, migration.status) {
            (Some(step), _) => format!("{:<13} {}", step.name, meaning(&step.name)),
            (None, Status::Pending) => "pending       waits for its turn".to_owned(),
            (None, _) => return,
        };
        if let Some(bar) = self.bar.as_ref().filter(|_| now != self.now) {
            bar.reset_elapsed();
            bar.set_message(now.clone());
            self.now = now;
        }
    }

    /// Show a line.
    pub(super) fn line(&self, line: &str) {
        let line = wrap(&format!("  {line}"), self.width, INDENT);
        match &self.bar {
            Some(bar) => bar.println(line),
            None => tell(&format!("{line}\n")),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // With room for the ^C that a terminal shows.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}  ") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// A step that has ended: its name, how long it took, what was found.
fn told(step: &StepRecord) -> String {
    let took = step.end_time.map_or(0.0, |end| seconds(step, end));
    let found = step.message.as_deref().filter(|found| !found.is_empty());
    let found = found.unwrap_or_else(|| meaning(&step.name));
    format!("{:<13} {took:>7.2} s  {found}", step.name)
}

fn seconds(step: &StepRecord, end: jiff::Timestamp) -> f64 {
    end.duration_since(step.start_time).as_secs_f64()
}

/// What a step does; nothing of one that a later orchestrator may know.
fn meaning(step: &str) -> &'static str {
    match step {
        "analyse" => "looks at pod, node and volumes",
        "create" => "makes the target pod",
        "standby" => "the target gets everything ready while the source works",
        "checkpoint" => "the application writes its state, and holds still",
        "handover" => "the target takes over from the checkpoint",
        "verify" => "the target verifies the checkpoint",
        "restore" => "the target goes on from the checkpoint",
        "remove" => "deletes the source",
        "drain" => "waits for the source's end",
        "delete-target" => "undone: deletes the target",
        "release" => "undone: lets the source go on",
        "recreate" => "undone: makes the source again",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_with_its_time_and_what_was_found() {
        let step = |name: &str, message: Option<&str>| StepRecord {
            name: name.into(),
            start_time: "2026-11-28T10:00:00Z".parse().unwrap(),
            end_time: Some("2026-11-28T10:00:01.25Z".parse().unwrap()),
            message: message.map(Into::into),
        };
        assert_eq!(
            told(&step("drain", Some("p is gone"))),
            "drain            1.25 s  p is gone"
        );
        assert_eq!(
            told(&step("drain", Some(""))),
            "drain            1.25 s  waits for the source's end"
        );
        assert_eq!(told(&step("of-tomorrow", None)), "of-tomorrow      1.25 s  ");
    }
}
