//! What operators rely on: health, metrics, logs, starting, stopping, migrating.

mod health;
mod logs;
mod metrics;
mod migrations;
mod starting;
mod stopping;
