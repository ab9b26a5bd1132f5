//! Kubernetes quantities (`1500m`, `1.5Gi`, `2e3`) as numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The value in base units (cores, bytes, pieces), or `None` if it is not a quantity.
///
/// Source: the grammar in `k8s.io/apimachinery/pkg/api/resource`. A double is exact for every byte count below 2⁵³ and
/// close enough for cores, which are only compared.
pub fn value(quantity: &Quantity) -> Option<f64> {
    let text = quantity.0.trim();
    if let Ok(plain) = text.parse::<f64>() {
        return plain.is_finite().then_some(plain);
    }
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, suffix) = text.split_at(split);
    Some(number.parse::<f64>().ok()? * factor(suffix)?)
}

fn factor(suffix: &str) -> Option<f64> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 9] = ["n", "u", "m", "", "k", "M", "G", "T", "P"];
    let power = |index: usize| i32::try_from(index).ok();
    if let Some(index) = BINARY.iter().position(|known| *known == suffix) {
        return Some(1024_f64.powi(power(index)? + 1));
    }
    if suffix == "E" {
        return Some(1e18);
    }
    let index = DECIMAL.iter().position(|known| *known == suffix)?;
    Some(1000_f64.powi(power(index)? - 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<f64> {
        value(&Quantity(text.to_owned()))
    }

    #[test]
    fn every_suffix_has_its_factor() {
        assert_eq!(of("2"), Some(2.0));
        assert_eq!(of("1500m"), Some(1.5));
        assert_eq!(of("250u"), Some(0.000_25));
        assert_eq!(of("1.5Gi"), Some(1_610_612_736.0));
        assert_eq!(of("128Mi"), Some(134_217_728.0));
        assert_eq!(of("64k"), Some(64_000.0));
        assert_eq!(of("2e3"), Some(2000.0));
        assert_eq!(of("3E"), Some(3e18));
    }

    #[test]
    fn anything_else_is_none() {
        for text in ["", "Gi", "1.5Qi", "1 Gi Gi", "inf", "-"] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }
}
