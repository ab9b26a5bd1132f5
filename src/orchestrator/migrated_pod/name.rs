//! Names and label values of migrated pods, within Kubernetes' limits.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::contract::orchestrator::ORIGINAL_POD_LABEL;

/// A pod's name becomes its host name, and that has at most 63 characters.
const LONGEST: usize = 63;

/// Name of the pod that a migrated pod came from in the beginning; of any other pod its own.
pub fn original(metadata: &ObjectMeta) -> String {
    // The annotation holds names that are too long for a label.
    let known = [&metadata.annotations, &metadata.labels];
    let known = known
        .into_iter()
        .flatten()
        .find_map(|map| map.get(ORIGINAL_POD_LABEL));
    known.or(metadata.name.as_ref()).cloned().unwrap_or_default()
}

/// `<original>-migrated-<unix seconds>`, the original's name shortened where that is too long.
pub fn migrated(original: &str, at: Timestamp) -> String {
    let suffix = format!("-migrated-{}", at.as_second());
    format!("{}{suffix}", shortened(original, LONGEST - suffix.len()))
}

/// `text` as a label value: at most 63 characters, ending with a letter or digit.
pub fn label_value(text: &str) -> String {
    shortened(text, LONGEST).to_owned()
}

fn shortened(text: &str, longest: usize) -> &str {
    let cut = text
        .char_indices()
        .nth(longest)
        .map_or(text, |(at, _)| &text[..at]);
    cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_name_says_where_it_came_from_and_when() {
        assert_eq!(
            migrated("trainer", at(1_764_000_000)),
            "trainer-migrated-1764000000"
        );
    }

    #[test]
    fn a_migrated_pod_keeps_its_first_name() {
        let metadata = ObjectMeta {
            name: Some("trainer-migrated-1".into()),
            labels: Some([(ORIGINAL_POD_LABEL.to_owned(), "trainer".to_owned())].into()),
            ..ObjectMeta::default()
        };
        assert_eq!(original(&metadata), "trainer");
    }

    proptest! {
        #[test]
        fn names_and_labels_are_within_the_limits(
            name in "[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?){0,3}", second in 0..9_999_999_999_i64,
        ) {
            let (migrated, label) = (migrated(&name, at(second)), label_value(&name));
            prop_assert!(migrated.len() <= LONGEST && label.len() <= LONGEST);
            prop_assert!(!migrated.contains(".-migrated") && !migrated.contains("--migrated"));
            prop_assert!(label.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }
    }
}
