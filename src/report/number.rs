//! Numbers as people read them. `memory.current` alone is uncertain by 256 KiB a CPU, so bytes are never printed as exact.

use crate::stats::metric::Unit::{self, Bytes, Count, Millicores, Periods, Seconds, Share, Steps};

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// How far a bound may lie beyond a printed digit and still be that digit: what binary fractions lose.
const GRAIN: f64 = 1e-9;

/// A number with its unit: millicores whole, bytes as MiB, seconds and steps as they are.
pub(super) fn with_unit(value: f64, unit: Unit) -> String {
    match unit {
        Millicores | Seconds => format!("{} {unit}", plain(value, unit)),
        Bytes => format!("{} MiB", plain(value, unit)),
        Count | Steps | Periods | Share => plain(value, unit),
    }
}

/// The same without its unit, for columns that name it.
pub(super) fn plain(value: f64, unit: Unit) -> String {
    match unit {
        Bytes => rounded(value / MEBIBYTE, 1),
        Seconds => rounded(value, of_seconds(value)),
        Millicores | Count | Steps | Periods | Share => rounded(value, 0),
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    rounded(share * 100.0, 1) + " %"
}

/// A ratio of two times.
pub(super) fn times(ratio: f64) -> String {
    rounded(ratio, 2) + " ×"
}

/// An interval of shares, in percent. Bounds are rounded outward: what is printed never claims more than was found.
pub(super) fn interval([low, high]: [f64; 2]) -> String {
    let [low, high] = outward([low * 100.0, high * 100.0], 1);
    format!("{low}…{high} %")
}

/// An interval of ratios of two times, outward as well.
pub(super) fn interval_of_times(bounds: [f64; 2]) -> String {
    let [low, high] = outward(bounds, 2);
    format!("{low}…{high} ×")
}

/// An interval of what is saved in a metric's own unit, outward as well.
pub(super) fn interval_of_numbers(bounds: [f64; 2], unit: Unit) -> String {
    let [low, high] = match unit {
        Bytes => outward(bounds.map(|bytes| bytes / MEBIBYTE), 1),
        Seconds => outward(bounds, of_seconds(bounds[0].abs().max(bounds[1].abs()))),
        Millicores | Count | Steps | Periods | Share => outward(bounds, 0),
    };
    match unit {
        Millicores | Seconds => format!("{low}…{high} {unit}"),
        Bytes => format!("{low}…{high} MiB"),
        Count | Steps | Periods | Share => format!("{low}…{high}"),
    }
}

/// Digits that seconds are told with: a phase of a pause may take milliseconds.
fn of_seconds(seconds: f64) -> usize {
    if seconds != 0.0 && seconds.abs() < 0.1 {
        3
    } else {
        2
    }
}

fn outward([low, high]: [f64; 2], digits: usize) -> [String; 2] {
    let scale = 10_f64.powi(i32::try_from(digits).unwrap_or_default());
    [
        (low * scale + GRAIN).floor() / scale,
        (high * scale - GRAIN).ceil() / scale,
    ]
    .map(|bound| rounded(bound, digits))
}

/// A setting: seconds where they are whole.
pub(super) fn duration(milliseconds: u64) -> String {
    if milliseconds.is_multiple_of(1000) {
        format!("{} s", milliseconds / 1000)
    } else {
        format!("{milliseconds} ms")
    }
}

/// Never "-0.0": a difference that rounds to nothing has no sign.
fn rounded(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|byte| matches!(byte, b'0' | b'.')) => rest.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_carry_what_is_known_of_them_and_no_more() {
        assert_eq!(with_unit(1799.6, Millicores), "1800 m");
        assert_eq!(with_unit(744_488_960.0, Bytes), "710.0 MiB");
        assert_eq!(with_unit(8.123, Seconds), "8.12 s");
        assert_eq!(with_unit(0.002_02, Seconds), "0.002 s");
        assert_eq!(with_unit(0.0, Seconds), "0.00 s");
        assert_eq!(with_unit(312.0, Steps), "312");
        assert_eq!(percent(0.279_999), "28.0 %");
        assert_eq!(percent(-0.000_1), "0.0 %");
        assert_eq!(percent(-0.082), "-8.2 %");
        assert_eq!(with_unit(-0.3, Millicores), "0 m");
        assert_eq!(times(0.9449), "0.94 ×");
        assert_eq!(
            (duration(75_000), duration(200)),
            ("75 s".into(), "200 ms".into())
        );
    }

    #[test]
    fn bounds_are_rounded_outward() {
        assert_eq!(interval([0.1996, 0.2981]), "19.9…29.9 %");
        assert_eq!(interval([-0.0004, 0.3]), "-0.1…30.0 %");
        assert_eq!(
            interval([0.282, 0.282]),
            "28.2…28.2 %",
            "binary fractions are no reason"
        );
        assert_eq!(interval_of_numbers([-0.123, 0.5], Seconds), "-0.13…0.50 s");
        assert_eq!(interval_of_numbers([0.0011, 0.0021], Seconds), "0.001…0.003 s");
        assert_eq!(interval_of_numbers([61.2, 70.9], Steps), "61…71");
        assert_eq!(interval_of_times([0.941, 0.969]), "0.94…0.97 ×");
    }

    proptest! {
        #[test]
        fn what_is_printed_contains_what_was_found(low in -3.0..1.0, width in 0.0..1.0) {
            let text = interval([low, low + width]);
            let (from, to) = text.trim_end_matches(" %").split_once('…').unwrap();
            prop_assert!(from.parse::<f64>().unwrap() <= low * 100.0 + 1e-6);
            prop_assert!(to.parse::<f64>().unwrap() >= (low + width) * 100.0 - 1e-6);
        }
    }
}
