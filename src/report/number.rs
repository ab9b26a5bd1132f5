//! Numbers as people read them. `memory.current` alone is uncertain by 256 KiB a CPU, so bytes are never printed as exact.

use crate::stats::{
    metric::Unit::{self, Bytes, Millicores, Periods, Seconds, Share, Steps},
    view::Figure,
};

/// What stands where there is no number; the reason is listed elsewhere.
pub(super) const NONE: &str = "–";

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// A number with its unit: millicores whole, bytes as MiB, seconds and steps as they are.
pub(super) fn with_unit(value: f64, unit: Unit) -> String {
    match unit {
        Millicores | Seconds => format!("{} {unit}", plain(value, unit)),
        Bytes => format!("{} MiB", plain(value, unit)),
        Steps | Periods | Share => plain(value, unit),
    }
}

/// The same without its unit, for columns that name it.
pub(super) fn plain(value: f64, unit: Unit) -> String {
    match unit {
        Bytes => rounded(value / MEBIBYTE, 1),
        Seconds => rounded(value, 2),
        Millicores | Steps | Periods | Share => rounded(value, 0),
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    rounded(share * 100.0, 1) + " %"
}

/// An interval of shares, in percent.
pub(super) fn interval([low, high]: [f64; 2]) -> String {
    format!("{}…{}", rounded(low * 100.0, 1), rounded(high * 100.0, 1))
}

/// A setting: seconds where they are whole.
pub(super) fn duration(milliseconds: u64) -> String {
    if milliseconds.is_multiple_of(1000) {
        format!("{} s", milliseconds / 1000)
    } else {
        format!("{milliseconds} ms")
    }
}

/// A figure, or the dash.
pub(super) fn or_none<T>(figure: &Figure<T>, show: impl Fn(&T) -> String) -> String {
    figure.value.as_ref().map_or_else(|| NONE.to_owned(), show)
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
    use super::*;

    #[test]
    fn numbers_carry_what_is_known_of_them_and_no_more() {
        assert_eq!(with_unit(1799.6, Millicores), "1800 m");
        assert_eq!(with_unit(744_488_960.0, Bytes), "710.0 MiB");
        assert_eq!(with_unit(8.123, Seconds), "8.12 s");
        assert_eq!(with_unit(312.0, Steps), "312");
        assert_eq!(percent(0.279_999), "28.0 %");
        assert_eq!(percent(-0.000_1), "0.0 %");
        assert_eq!(percent(-0.082), "-8.2 %");
        assert_eq!(with_unit(-0.3, Millicores), "0 m");
        assert_eq!(interval([0.2631, 0.298]), "26.3…29.8");
        assert_eq!(
            (duration(75_000), duration(200)),
            ("75 s".into(), "200 ms".into())
        );
        assert_eq!(
            or_none(&Figure::<f64>::unknown("no"), |value| percent(*value)),
            "–"
        );
    }
}
