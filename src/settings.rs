//! Settings as resolved from the command line, the environment and the scenario.
