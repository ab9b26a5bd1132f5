//! A checkpoint from the application's hook to the restored process: its manifest, the check of its files from the
//! target's own mount, and the handshake that shows that the target has taken over.

pub mod beneath;
pub mod handshake;
pub mod integrity;
pub mod manifest;
