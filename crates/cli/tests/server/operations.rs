//! Operations: buckets, configuration, health, metrics, logs, starting, stopping, migrating.

mod addresses;
mod audit;
mod backup;
mod book;
mod buckets;
mod commands;
mod configuration;
mod dotenv;
mod dumps;
mod gc;
mod health;
mod logs;
mod memory;
mod metrics;
mod migrations;
mod progress;
mod reconcile;
mod redis;
mod seaweed;
mod shares;
mod slo;
mod starting;
mod stopping;
mod store_identity;
mod upgrades;
mod waiting;
