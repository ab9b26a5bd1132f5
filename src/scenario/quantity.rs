//! Kubernetes quantities: `1500m`, `1.5Gi`.

/// Suffixes and what they stand for.
const SUFFIXES: [(&str, f64); 12] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("", 1.0),
];

/// An amount of CPU in millicores, rounded up as Kubernetes does.
pub fn millicores(quantity: &str) -> Result<u64, String> {
    // Whole nanocores first: 0.7 × 1000 is a little more than 700 in binary.
    let nanocores = (parse(quantity)? * 1e9).round();
    whole((nanocores / 1e6).ceil(), quantity)
}

/// An amount of memory or storage in bytes, rounded up.
pub fn bytes(quantity: &str) -> Result<u64, String> {
    whole(parse(quantity)?.ceil(), quantity)
}

fn parse(quantity: &str) -> Result<f64, String> {
    let number = |(suffix, factor): &(&str, f64)| {
        let digits = quantity.strip_suffix(suffix)?;
        let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
        let value: f64 = digits.parse().ok().filter(|_| plain)?;
        Some(value * factor)
    };
    SUFFIXES.iter().find_map(number).ok_or_else(|| {
        format!("{quantity:?} is not a quantity: write a number with a suffix, as in 500m, 2 or 1.5Gi")
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked: not negative, and below 2^63"
)]
fn whole(value: f64, quantity: &str) -> Result<u64, String> {
    if value < 9.2e18 {
        Ok(value as u64)
    } else {
        Err(format!("{quantity:?} is more than there is"))
    }
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
}
