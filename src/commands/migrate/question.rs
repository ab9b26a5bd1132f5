//! A question on the terminal.

use std::io::{self, Write};

use tokio::sync::oneshot;

use crate::error::Error;

/// Ask, and wait for a line; whether it says yes. The end of the input does not.
///
/// The line is read in a thread of its own, for a read of the runtime's own would hold up its end.
pub(super) async fn ask(question: &str) -> Result<bool, Error> {
    let mut terminal = anstream::stderr();
    let asked = write!(terminal, "{question}").and_then(|()| terminal.flush());
    asked.map_err(|error| Error::Internal(error.into()))?;
    let (sender, answer) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).map(|_| line);
        // Nobody waits for it after a signal.
        let _ = sender.send(read);
    });
    match answer.await {
        Ok(Ok(line)) => Ok(is_yes(&line)),
        Ok(Err(error)) => Err(Error::Internal(error.into())),
        Err(_) => Ok(false),
    }
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y\n", "Yes\r\n", " YES"].into_iter().all(is_yes));
        assert!(!["", "\n", "n\n", "yep\n", "yes please\n"].into_iter().any(is_yes));
    }
}
