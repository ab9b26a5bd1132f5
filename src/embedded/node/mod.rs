//! The nodes of the embedded cluster.
