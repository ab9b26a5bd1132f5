//! A run: [`settings`] say what was asked for, the [`stage`] is what has to be there before the first leg, [`rounds`] is
//! scenario × strategy × round. It speaks only in [`notice`]s; terminal, progress bar and [`recorder`] listen.

pub mod agents;
mod child;
pub mod cluster;
pub mod embedded;
pub mod enter;
pub mod environment;
mod leg;
pub mod notice;
mod observer;
pub mod orchestrator;
pub mod orchestrator_process;
pub mod order;
pub mod overhead;
pub mod plan;
mod readings;
pub mod recorder;
pub mod resume;
pub mod rounds;
pub mod settings;
pub mod stage;
