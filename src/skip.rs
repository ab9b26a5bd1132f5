//! How a test says what its reader must hear: that this host does not offer what it needs, or that it measures again.

use std::{
    fmt::Display,
    io::{self, Write},
    thread,
};

/// The test is not made here, and why.
pub(crate) fn skip(why: impl Display) {
    say("skipped", why);
}

/// Straight to stderr: what a test prints by macros is shown only when it fails.
pub(crate) fn say(what: &str, why: impl Display) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(io::stderr(), "{what}: {why} ({test})");
}
