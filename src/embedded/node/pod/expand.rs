//! `$(NAME)` in commands, arguments and variables: replaced by the variable's value where there is one, left as it is
//! where there is none; `$$` stands for `$`.

/// Expand one string.
pub(crate) fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let (expansion, length) = expand_first(&rest[at..], variables);
        result.push_str(&expansion);
        rest = &rest[at + length..];
    }
    result + rest
}

/// What the `$` at the beginning stands for, and the length of what it replaces.
fn expand_first(text: &str, variables: &[(String, String)]) -> (String, usize) {
    if text.starts_with("$$") {
        return ("$".to_owned(), 2);
    }
    let name = text
        .strip_prefix("$(")
        .and_then(|rest| rest.split_once(')'))
        .map(|(name, _)| name);
    let value = name.and_then(|name| lookup(name, variables));
    match (name, value) {
        (Some(name), Some(value)) => (value.to_owned(), name.len() + 3),
        _ => ("$".to_owned(), 1),
    }
}

/// The last definition of a variable counts.
fn lookup<'a>(name: &str, variables: &'a [(String, String)]) -> Option<&'a str> {
    variables
        .iter()
        .rev()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_the_rest_is_kept() {
        let variables =
            [("A", "1"), ("B", "$(A)"), ("A", "2")].map(|(name, value)| (name.into(), value.into()));
        for (text, expected) in [
            ("plain", "plain"),
            ("$(A)", "2"),
            ("x$(A)y$(A)z", "x2y2z"),
            ("$(B)", "$(A)"),
            ("$$(A)", "$(A)"),
            ("$(MISSING)", "$(MISSING)"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("$$$(A)", "$2"),
            ("a$$b", "a$b"),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }
}
