//! A number, or why there is none.

use schemars::JsonSchema;
use serde::Serialize;

/// A number, or why there is none: in JSON `{"value": 1.5}` or `{"value": null, "reason": "…"}`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Figure<T = f64> {
    /// The number.
    pub value: Option<T>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl<T> Figure<T> {
    /// A number.
    pub fn known(value: T) -> Self {
        Self {
            value: Some(value),
            reason: None,
        }
    }

    /// None, and why.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self {
            value: None,
            reason: Some(reason.into()),
        }
    }

    /// The number, or `reason` where there is none.
    pub fn or_reason(value: Option<T>, reason: &str) -> Self {
        value.map_or_else(|| Self::unknown(reason), Self::known)
    }

    /// The number or the reason, to go on computing with `?`.
    pub fn get(&self) -> Result<&T, String> {
        self.value
            .as_ref()
            .ok_or_else(|| self.reason.clone().unwrap_or_default())
    }

    /// What a function makes of the number.
    pub fn map<U>(&self, f: impl FnOnce(&T) -> U) -> Figure<U> {
        Figure {
            value: self.value.as_ref().map(f),
            reason: self.reason.clone(),
        }
    }

    /// What a function that may find no number makes of the number.
    pub fn and_then<U>(&self, f: impl FnOnce(&T) -> Figure<U>) -> Figure<U> {
        match self.get() {
            Ok(value) => f(value),
            Err(reason) => Figure::unknown(reason),
        }
    }
}

impl<T> From<Result<T, String>> for Figure<T> {
    fn from(result: Result<T, String>) -> Self {
        result.map_or_else(Self::unknown, Self::known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_null_with_its_reason() {
        let json = |figure: &Figure<u64>| serde_json::to_string(figure).unwrap();
        assert_eq!(json(&Figure::known(3)), r#"{"value":3}"#);
        assert_eq!(
            json(&Figure::unknown("no reading")),
            r#"{"value":null,"reason":"no reading"}"#
        );
    }

    #[test]
    fn the_reason_travels_through_a_computation() {
        let figure = Figure::<u64>::unknown("no reading").map(|value| value + 1);
        assert_eq!(
            figure.and_then(|value| Figure::known(value * 2)).get(),
            Err("no reading".into())
        );
        assert_eq!(Figure::known(3).map(|value| value + 1).get(), Ok(&4));
    }
}
