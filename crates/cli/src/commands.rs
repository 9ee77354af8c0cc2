//! The commands, one file each.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod book;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod gc;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod hydrate;
pub(crate) mod ingest;
pub(crate) mod keys;
mod maintenance;
pub(crate) mod mcp;
pub(crate) mod migrate;
mod operator;
pub(crate) mod reconcile;
pub(crate) mod serve;
mod server_args;
pub(crate) mod slo;
pub(crate) mod validate;
pub(crate) mod watch;
