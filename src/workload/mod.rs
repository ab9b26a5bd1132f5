//! What runs in the pods: the contract between a workload and the rest ([`protocol`]), and the built-in workload, a
//! burner paced by its own CPU-time clock that is also the known answer the harness is checked against.

pub mod protocol;
