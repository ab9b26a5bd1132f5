//! Kubernetes quantities: `500m`, `1.5Gi`, `2e3`. Whole nano-units, the finest that Kubernetes knows, since binary
//! fractions are not exact.

/// Nano-units in one.
const NANO: i128 = 1_000_000_000;

/// An amount of CPU in millicores, rounded up as Kubernetes does.
pub fn millicores(quantity: &str) -> Result<u64, String> {
    whole(quantity, NANO / 1000)
}

/// An amount of memory or storage in bytes, rounded up.
pub fn bytes(quantity: &str) -> Result<u64, String> {
    whole(quantity, NANO)
}

/// How many units of so many nano-units a quantity is, rounded up.
fn whole(quantity: &str, unit: i128) -> Result<u64, String> {
    let amount = nano(quantity).filter(|amount| *amount >= 0).ok_or_else(|| {
        format!("{quantity:?} is not a quantity: write a number with a suffix, as in 500m, 2 or 1.5Gi")
    })?;
    u64::try_from((amount + unit - 1) / unit).map_err(|_| format!("{quantity:?} is more than there is"))
}

/// A quantity in nano-units, the finest that Kubernetes knows; none when it is not one.
pub fn nano(text: &str) -> Option<i128> {
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
    if digits.contains(['+', '-']) {
        return None;
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
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
    fn cpu() {
        assert_eq!(millicores("1600m"), Ok(1600));
        assert_eq!(millicores("0.7"), Ok(700));
        assert_eq!(millicores("2"), Ok(2000));
        assert_eq!(millicores("1n"), Ok(1));
    }

    #[test]
    fn memory() {
        assert_eq!(bytes("1.5Gi"), Ok(1_610_612_736));
        assert_eq!(bytes("200Mi"), Ok(209_715_200));
        assert_eq!(bytes("5G"), Ok(5_000_000_000));
        assert_eq!(bytes("128"), Ok(128));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for wrong in [
            "",
            "m",
            "1500 m",
            "-1",
            "1e3x",
            "inf",
            "NaN",
            "1.2.3",
            "12Kib",
            "99999999999T",
        ] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn suffixes_scale() {
        for (text, nanos) in [
            ("1", NANO),
            ("500m", NANO / 2),
            ("1.5Gi", NANO * 3 * (1 << 29)),
            ("2e3", NANO * 2000),
            ("-1", -NANO),
            ("100n", 100),
            ("0.1", NANO / 10),
        ] {
            assert_eq!(nano(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", "m", "1x", "1.2.3", "--1", "1 Gi", "a"] {
            assert_eq!(nano(text), None, "{text}");
        }
    }
}
