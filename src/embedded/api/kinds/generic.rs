//! Kinds that are only stored.

use super::Rules;

/// No rules of their own.
#[derive(Debug)]
pub(crate) struct GenericRules;

impl Rules for GenericRules {}
