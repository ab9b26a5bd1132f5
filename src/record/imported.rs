//! Samples that were taken elsewhere, as a record keeps them.

use serde::{Deserialize, Serialize};

/// The samples of one leg.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportedLeg {
    /// Of the phase before the migration.
    #[serde(default)]
    pub before: Samples,
    /// Of the phase after it.
    #[serde(default)]
    pub after: Samples,
}

/// The samples of one phase in order; empty where the file has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// CPU of the pod, millicores.
    #[serde(default)]
    pub cpu_millicores: Vec<f64>,
    /// Memory of the pod, bytes; the file does not say of which kind.
    #[serde(default)]
    pub memory_bytes: Vec<f64>,
}
