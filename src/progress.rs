//! The terminal as a listener to a run's events.
