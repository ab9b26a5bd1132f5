//! Services.

use super::Rules;
use crate::embedded::api::{metadata::NameRule, names};

/// Services are only stored: nothing answers at their addresses.
#[derive(Debug)]
pub(crate) struct ServiceRules;

impl Rules for ServiceRules {
    fn name_rule(&self) -> NameRule {
        names::service
    }
}
