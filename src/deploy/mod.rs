//! Deploying the scenario's objects, and waiting until the pod is armed.
