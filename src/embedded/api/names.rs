//! Names of objects.

use rand::Rng;

/// What a DNS label must look like.
pub(crate) const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
    and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// What a DNS subdomain must look like.
pub(crate) const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
    '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Longest generated base: 63 less the random part.
const BASE: usize = 58;
/// Letters and digits that do not form words, as the API server chooses them.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const RANDOM: usize = 5;

/// Whether a name is a DNS label.
pub(crate) fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_part(name)
}

/// Whether a name is a DNS subdomain.
pub(crate) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

fn is_part(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

/// A name from `metadata.generateName`: the base, cut at 58, and five random characters.
pub(crate) fn generate(base: &str) -> String {
    let mut random = rand::rng();
    let suffix = (0..RANDOM).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    base.chars().take(BASE).chain(suffix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_has_at_most_63_characters() {
        let name = generate("a-rather-long-name-that-is-cut-after-fifty-eight-characters-");
        assert!(name.starts_with("a-rather-long-name-that-is-cut-after-fifty-eight-character"));
        assert_eq!(name.len(), 63);
    }

    #[test]
    fn subdomains_are_told_from_other_names() {
        assert!(is_subdomain("a.b-c.d1"));
        for wrong in ["", "A", "a_b", "-a", "a-", "a..b"] {
            assert!(!is_subdomain(wrong), "{wrong}");
        }
    }
}
