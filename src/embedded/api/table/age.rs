//! Durations as kubectl prints them: two units at most.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::embedded::api::verbs::text;

/// How long ago an object was created.
pub(super) fn of(object: &Value) -> Value {
    json!(since(text(object, "/metadata/creationTimestamp")))
}

/// How long ago a time was; `<unknown>` when it is none.
pub(super) fn since(time: &str) -> String {
    time.parse::<Timestamp>().map_or_else(
        |_| "<unknown>".into(),
        |time| human(Timestamp::now().duration_since(time).as_secs()),
    )
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// `duration.HumanDuration` of apimachinery.
fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / MINUTE, seconds / HOUR, seconds / DAY);
    match seconds {
        i64::MIN..0 => "<invalid>".into(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        _ if seconds < 2 * YEAR => format!("{days}d"),
        _ if seconds < 8 * YEAR => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

fn two(major: i64, major_unit: &str, minor: i64, minor_unit: &str) -> String {
    if minor == 0 {
        format!("{major}{major_unit}")
    } else {
        format!("{major}{major_unit}{minor}{minor_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_as_kubectl_prints_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (392, "6m32s"),
            (600, "10m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (47 * HOUR, "47h"),
            (2 * DAY + HOUR, "2d1h"),
            (30 * DAY, "30d"),
            (3 * YEAR, "3y"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }
}
