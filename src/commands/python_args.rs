//! With which Python the embedded cluster builds its images, as clap sees it.

use std::path::PathBuf;

use crate::embedded::images::Means;

/// How TensorFlow's environment is built, where the embedded cluster needs one.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Embedded cluster")]
pub struct PythonArgs {
    /// Build TensorFlow's environment with this Python (3.8 to 3.11); without, one is looked for on PATH, else fetched.
    #[arg(long, value_name = "FILE", env = "MIGBENCH_PYTHON")]
    pub python: Option<PathBuf>,
    /// Fetch nothing over the network: what is needed lies on this host.
    #[arg(long)]
    pub offline: bool,
}

impl From<PythonArgs> for Means {
    fn from(args: PythonArgs) -> Self {
        Self {
            // A variable that is set to nothing names nothing.
            python: args.python.filter(|python| !python.as_os_str().is_empty()),
            offline: args.offline,
        }
    }
}
