//! Events.

use super::Rules;

/// Events are only stored; `kubectl describe` selects them by the object they are about.
#[derive(Debug)]
pub(crate) struct EventRules;

impl Rules for EventRules {
    fn selectable_fields(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source.component",
            "type",
        ]
    }
}
