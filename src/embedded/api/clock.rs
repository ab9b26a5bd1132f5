//! Times as Kubernetes writes them: RFC 3339 in whole seconds.

use jiff::{SignedDuration, Timestamp};

/// The present.
pub(crate) fn now() -> String {
    format(Timestamp::now())
}

/// So many seconds from now.
pub(crate) fn in_seconds(seconds: i64) -> String {
    let now = Timestamp::now();
    format(
        now.checked_add(SignedDuration::from_secs(seconds))
            .unwrap_or(Timestamp::MAX),
    )
}

fn format(time: Timestamp) -> String {
    // Truncated, not rounded: a time must not lie in the future.
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.to_string()
}
