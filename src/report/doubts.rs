//! Doubts in groups, once for all formats that people read. Only what differs in its numbers alone is one group: the
//! failure of another container, or another reason, has a line of its own.

use serde_json::Value;

use crate::stats::{
    summary::Summary,
    view::{Cause, Doubt, Scope},
};

/// The same doubt, in one or more places.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// The first of them.
    pub(super) first: &'a Doubt,
    /// Where each of them arose, in words; empty for what concerns all of the run.
    pub(super) places: Vec<String>,
}

impl Group<'_> {
    /// `INVALID` or `warning`.
    pub(super) fn weight(&self) -> &'static str {
        if self.first.invalidates {
            "INVALID"
        } else {
            "warning"
        }
    }

    /// The group as one line; without `all` it names the first place, and how many more there are.
    pub(super) fn line(&self, all: bool) -> String {
        // An error may be of several lines, or hold what moves a cursor.
        let (weight, text) = (self.weight(), self.first.text.replace(char::is_control, " "));
        match self.places.as_slice() {
            [] => format!("{weight}: {text}"),
            [one] => format!("{weight} ({one}): {text}"),
            [first, rest @ ..] if !all => format!("{weight} ({first}, and {} more): {text}", rest.len()),
            places => format!("{weight} ({}): {text}", places.join(", ")),
        }
    }
}

/// The doubts of a run in groups, what invalidates first.
pub(super) fn groups(summary: &Summary) -> Vec<Group<'_>> {
    let mut groups: Vec<(String, Group)> = Vec::new();
    for doubt in &summary.doubts {
        let key = subject(&doubt.cause);
        let place = place(&doubt.place);
        let places = (!place.is_empty()).then_some(place);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            // A phase may have the same doubt of several samples or containers.
            Some((_, group)) => group
                .places
                .extend(places.filter(|place| !group.places.contains(place))),
            None => groups.push((
                key,
                Group {
                    first: doubt,
                    places: places.into_iter().collect(),
                },
            )),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// What a doubt is about: its kind and all of its words, not its numbers.
fn subject(cause: &Cause) -> String {
    let mut value = serde_json::to_value(cause).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, field| !field.is_number());
    }
    value.to_string()
}

fn place(place: &Scope) -> String {
    let phase = place.phase.map(|phase| phase.to_string());
    let round = place.round.map(|round| format!("round {round}"));
    let parts = [round, place.strategy.clone(), phase];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
