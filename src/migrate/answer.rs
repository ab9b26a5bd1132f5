//! What is read of a migration object, and no more: a third party's may lack the rest, or have more in it.

use serde::Deserialize;
use serde_json::Value;

use crate::contract::{orchestrator::Status, workload::Pause};

/// A migration object as it was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer(Value);

impl Answer {
    /// Read it. An error says why it is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(object @ Value::Object(_)) => Ok(Self(object)),
            Ok(_) => Err("it is no object".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Its id, in whatever shape.
    pub(super) fn id(&self) -> Result<String, String> {
        match &self.0["migration_id"] {
            Value::String(id) if !id.is_empty() => Ok(id.clone()),
            Value::Number(id) => Ok(id.to_string()),
            Value::Null => Err("missing field `migration_id`".into()),
            other => Err(format!("{other} is no migration_id")),
        }
    }

    /// Where it stands.
    pub(super) fn status(&self) -> Result<Status, String> {
        match &self.0["status"] {
            Value::Null => Err("missing field `status`".into()),
            status => Status::deserialize(status).map_err(|error| error.to_string()),
        }
    }

    /// Its one sentence; empty where it has none.
    pub(super) fn message(&self) -> &str {
        self.0["message"].as_str().unwrap_or_default()
    }

    /// Name of the migrated pod, where it is told.
    pub(super) fn new_pod(&self) -> Option<&str> {
        let name = self.0["details"]["new_pod_name"].as_str();
        name.filter(|name| !name.is_empty())
    }

    /// What the pause consisted of, where it is told.
    pub(super) fn pause(&self) -> Option<Pause> {
        Option::deserialize(&self.0["details"]["pause"]).ok()?
    }

    /// All of it, with a word about the source if that outlived the migration.
    pub(super) fn report(self, source_outlived: bool) -> Value {
        let mut object = self.0;
        if source_outlived {
            object["migbench_note"] =
                "the source was still there when the orchestrator called the migration completed; \
                                       waited for its end"
                    .into();
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer::parse(text).unwrap()
    }

    #[test]
    fn little_is_enough_and_more_is_passed_over() {
        let bare = answer(r#"{"migration_id": "m", "status": "running"}"#);
        assert_eq!((bare.message(), bare.new_pod()), ("", None));
        for details in [
            "null",
            "[]",
            r#""queued""#,
            "{}",
            r#"{"new_pod_name": null}"#,
            r#"{"new_pod_name": ""}"#,
        ] {
            let text = format!(r#"{{"status": "completed", "details": {details}, "progress": 7}}"#);
            assert_eq!(answer(&text).new_pod(), None, "{details}");
            assert_eq!(answer(&text).status(), Ok(Status::Completed));
        }
    }

    #[test]
    fn what_the_pause_consisted_of_need_not_be_told() {
        let pause = |told: &str| answer(&format!(r#"{{"details": {{"pause": {told}}}}}"#)).pause();
        let known = pause(r#"{"read_seconds": 0.5, "write_seconds": null, "of_a_third_party": 1}"#).unwrap();
        assert_eq!((known.read_seconds, known.write_seconds), (Some(0.5), None));
        assert_eq!([pause("null"), pause("3"), answer("{}").pause()], [None; 3]);
    }

    #[test]
    fn an_id_may_be_a_number() {
        assert_eq!(answer(r#"{"migration_id": 17}"#).id().as_deref(), Ok("17"));
        for none in ["{}", r#"{"migration_id": ""}"#, r#"{"migration_id": {}}"#] {
            assert!(answer(none).id().is_err(), "{none}");
        }
    }

    #[test]
    fn a_word_that_is_no_status_is_told() {
        let told = answer(r#"{"status": "paused"}"#).status().unwrap_err();
        assert!(told.contains("unknown variant `paused`"), "{told}");
        assert!(Answer::parse("[]").is_err() && Answer::parse("<html>").is_err());
    }
}
