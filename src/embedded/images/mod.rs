//! Images of the embedded cluster: a catalogue that maps an image name to a runtime on this host.

/// What a container of an image gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name as it was asked for.
    pub reference: String,
    /// What was found under that name, `sha256:…`.
    pub digest: String,
    /// Environment that the image brings, `PATH` included.
    pub env: Vec<(String, String)>,
}
