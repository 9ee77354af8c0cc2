//! Connecting to PostgreSQL. Nothing here outlives a transaction on the server's side, so that
//! transaction poolers work (`pgbouncer=true` also does without prepared statements).

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};

use super::{DatabaseUrl, Engine, PoolOptions, Sql};

pub(super) async fn connect(url: &DatabaseUrl, pool: PoolOptions) -> Sql<Engine> {
    let DatabaseUrl::Postgres { url, pooler } = url else {
        return Err(sqlx::Error::InvalidArgument("not a PostgreSQL URL".to_owned()));
    };
    let mut options = PgConnectOptions::from_str(url)?
        .application_name("panaversity-fs")
        .statement_cache_capacity(if *pooler { 0 } else { 512 })
        .disable_statement_logging();
    if !pooler {
        // A pooler refuses start-up options. Without one, no statement outlives its caller's patience.
        options = options.options([("statement_timeout", "30s"), ("lock_timeout", "15s")]);
    }
    // Learn now, not at the first call, whether the database is there and lets us in. The pool would
    // try for its whole patience and then keep the reason to itself.
    let first = tokio::time::timeout(pool.timeout, options.connect()).await;
    first.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await?;
    let pool = PgPoolOptions::new()
        .max_connections(pool.size.saturating_add(pool.overflow).max(3))
        .acquire_timeout(pool.timeout)
        .test_before_acquire(false)
        .connect_lazy_with(options);
    Ok(Engine::Postgres(pool))
}
