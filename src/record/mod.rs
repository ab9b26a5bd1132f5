//! The run record `results/<run-id>/run.json`: settings, environment, every raw reading and every event. Nothing in it is
//! derived; [`crate::stats`] recomputes everything from it. Its JSON Schema is `docs/run.schema.json`.

pub mod clock;
pub mod event;
pub mod fit;
pub mod import;
pub mod imported;
pub mod leg;
pub mod outcome;
pub mod reading;
pub mod run;
pub mod selftest;
pub mod situation;
pub mod store;
