//! How a test says that this host does not offer what it needs.

use std::{
    fmt::Display,
    io::{self, Write},
    thread,
};

/// Straight to stderr: what a test prints by macros is shown only when it fails.
pub(crate) fn skip(why: impl Display) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(io::stderr(), "skipped: {why} ({test})");
}
