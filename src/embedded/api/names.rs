//! Names of objects, and keys of what is in them, as the API server takes them.

use rand::Rng;

/// What a DNS label must look like.
const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
    and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// What a DNS subdomain must look like.
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
    '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
/// What the name of a service must look like.
const SERVICE_RULE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
/// What the key of a label or an annotation must look like, without its prefix.
const KEY_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
/// What the value of a label must look like.
const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
/// What the key of a config map or a secret must look like.
const CONFIG_KEY_RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' \
    (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// Longest label, and longest subdomain.
const LABEL: usize = 63;
const SUBDOMAIN: usize = 253;

/// Longest generated base: 63 less the random part.
const BASE: usize = 58;
/// Letters and digits that do not form words, as the API server chooses them.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const RANDOM: usize = 5;

/// What is wrong with a DNS label.
pub(crate) fn label(name: &str) -> Vec<String> {
    let rule = if is_part(name) || !name.split('.').all(is_part) {
        LABEL_RULE
    } else {
        "must not contain dots"
    };
    problems(name, LABEL, is_part(name), rule)
}

/// What is wrong with a DNS subdomain.
pub(crate) fn subdomain(name: &str) -> Vec<String> {
    problems(name, SUBDOMAIN, name.split('.').all(is_part), SUBDOMAIN_RULE)
}

/// What is wrong with the name of a service.
pub(crate) fn service(name: &str) -> Vec<String> {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    problems(name, LABEL, begins && is_part(name), SERVICE_RULE)
}

/// What is wrong with the key of a label, of an annotation or of a taint: `name`, or `prefix/name`.
pub(crate) fn qualified(key: &str) -> Vec<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((_, rest)) if rest.contains('/') => {
            let example = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {KEY_RULE} {example}")];
        }
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let empty = |part: &str| part.is_empty().then(|| "must be non-empty".to_owned());
    let prefix =
        prefix.map(|prefix| empty(prefix).map_or_else(|| subdomain(prefix), |problem| vec![problem]));
    let name = empty(name)
        .into_iter()
        .chain(problems(name, LABEL, is_word(name), KEY_RULE));
    let prefix = prefix
        .into_iter()
        .flatten()
        .map(|problem| format!("prefix part {problem}"));
    prefix
        .chain(name.map(|problem| format!("name part {problem}")))
        .collect()
}

/// What is wrong with the value of a label.
pub(crate) fn label_value(value: &str) -> Vec<String> {
    problems(value, LABEL, value.is_empty() || is_word(value), VALUE_RULE)
}

/// What is wrong with the key of a config map or of a secret, which may become the name of a file.
pub(crate) fn config_key(key: &str) -> Vec<String> {
    let mut problems = problems(
        key,
        SUBDOMAIN,
        !key.is_empty() && key.bytes().all(is_inner),
        CONFIG_KEY_RULE,
    );
    match key {
        "." => problems.push("must not be '.'".into()),
        ".." => problems.push("must not be '..'".into()),
        _ if key.starts_with("..") => problems.push("must not start with '..'".into()),
        _ => {}
    }
    problems
}

fn problems(text: &str, longest: usize, fits: bool, rule: &str) -> Vec<String> {
    let too_long = (text.len() > longest).then(|| format!("must be no more than {longest} characters"));
    let unfit = (!fits).then(|| rule.to_owned());
    too_long.into_iter().chain(unfit).collect()
}

fn is_part(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

fn is_word(text: &str) -> bool {
    let ends = |end: Option<u8>| end.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.bytes().all(is_inner) && ends(text.bytes().next()) && ends(text.bytes().last())
}

fn is_inner(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
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
        assert_eq!(subdomain("a.b-c.d1"), [""; 0]);
        for wrong in ["", "A", "a_b", "-a", "a-", "a..b"] {
            assert_eq!(subdomain(wrong), [SUBDOMAIN_RULE], "{wrong}");
        }
        assert_eq!(label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(label("a.b"), ["must not contain dots"]);
        assert_eq!(service("1a"), [SERVICE_RULE]);
    }

    #[test]
    fn keys_have_a_prefix_or_none() {
        for right in ["a", "A_b.c", "example.com/A"] {
            assert_eq!(qualified(right), [""; 0], "{right}");
        }
        for (wrong, problem) in [
            ("", "name part must be non-empty"),
            ("/a", "prefix part must be non-empty"),
            ("a/", "name part must be non-empty"),
            ("A/b", "prefix part a lowercase RFC 1123 subdomain"),
            ("-a", "name part must consist of"),
            ("a/b/c", "a valid label key must consist of"),
        ] {
            assert!(
                qualified(wrong)[0].starts_with(problem),
                "{wrong}: {:?}",
                qualified(wrong)
            );
        }
    }

    #[test]
    fn a_config_key_names_a_file_that_lies_where_it_should() {
        assert_eq!(config_key("..data-x")[0], "must not start with '..'");
        assert_eq!(config_key("../x"), [CONFIG_KEY_RULE, "must not start with '..'"]);
        assert_eq!(config_key("."), ["must not be '.'"]);
        assert_eq!(config_key("a.B_c-1"), [""; 0]);
        assert_eq!(config_key(""), [CONFIG_KEY_RULE]);
    }
}
