//! The query of a request.

use axum::extract::Query as Pairs;
use http::Uri;

use super::status::ApiError;

/// Its pairs in order; names may repeat.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Read the query; `?&a=b`, as kube-rs writes it, is well-formed.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        Pairs::try_from_uri(uri)
            .map(|Pairs(pairs)| Self(pairs))
            .map_err(|error| ApiError::bad_request(error.to_string()))
    }

    /// Every value of a name.
    pub(crate) fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a name, empty when it is missing.
    pub(crate) fn text<'q>(&'q self, name: &str) -> &'q str {
        let pair = self.0.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Whether a flag is set: `true`, `1`, or the name alone.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.all(name)
            .next()
            .is_some_and(|value| !matches!(value, "false" | "0"))
    }

    /// A number, none when it is missing.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "unable to parse {name}: \"{text}\" is not a valid number"
                ))
            }),
        }
    }
}
