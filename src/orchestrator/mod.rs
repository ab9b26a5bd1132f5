//! The AI Storage Orchestrator: a service that migrates pods. It looks at the container states, has the application
//! write a checkpoint, redeploys only what still runs, and removes the source once the target has made a new step.

pub mod wire;
