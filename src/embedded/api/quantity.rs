//! Quantities as Kubernetes writes them: `500m`, `1.5Gi`, `2e3`.

/// Nano-units in one.
const NANO: i128 = 1_000_000_000;

/// A quantity in nano-units, the finest that Kubernetes knows; none when it is not one.
pub(crate) fn parse(text: &str) -> Option<i128> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (numerator, denominator) = scale(suffix)?;
    decimal(number)?.checked_mul(numerator)?.checked_div(denominator)
}

/// A decimal number in nano-units.
fn decimal(number: &str) -> Option<i128> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = [whole, fraction]
        .concat()
        .bytes()
        .all(|byte| byte.is_ascii_digit());
    if !is_plain || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: i128 = format!("{fraction:0<9.9}").parse().ok()?;
    let value = whole.checked_mul(NANO)?.checked_add(fraction)?;
    Some(if negative { -value } else { value })
}

/// What a suffix multiplies by, as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let scale = match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANO, 1),
        "T" => (NANO * 1_000, 1),
        "P" => (NANO * 1_000_000, 1),
        "E" => (NANO * NANO, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        other => return exponent(other),
    };
    Some(scale)
}

fn exponent(suffix: &str) -> Option<(i128, i128)> {
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_scale() {
        for (text, nano) in [
            ("1", NANO),
            ("500m", NANO / 2),
            ("1.5Gi", NANO * 3 * (1 << 29)),
            ("2e3", NANO * 2000),
            ("-1", -NANO),
            ("100n", 100),
            ("0.1", NANO / 10),
        ] {
            assert_eq!(parse(text), Some(nano), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", "m", "1x", "1.2.3", "--1", "1 Gi", "a"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
