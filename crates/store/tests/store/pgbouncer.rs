//! A real `PgBouncer` in transaction mode between the store and PostgreSQL. Without one on the machine the
//! test says so and passes.

use panaversity_model::ports::{AuditLog, Changes, Files};
use panaversity_model::{Layer, View};
use panaversity_testkit::postgres::{PgBouncer, shared};
use panaversity_testkit::samples::{book, change_set, draft, lesson, write};

use crate::engines::open;

#[tokio::test(flavor = "multi_thread")]
async fn more_callers_than_server_connections_write_and_read_through_a_pgbouncer() {
    let Some(bouncer) = PgBouncer::start(shared()) else {
        eprintln!("not tried: there is no PgBouncer here; install it, or name it in TEST_PGBOUNCER");
        return;
    };
    let direct = shared().create_database();
    let (db, journal) = open(&format!("{}?pgbouncer=true", bouncer.url(&direct))).await;
    let book = book();
    let callers = (0..40).map(|n| {
        let (journal, book) = (journal.clone(), book.clone());
        tokio::spawn(async move {
            let set = change_set(&book, &Layer::Base, vec![write(&lesson(n), b"text", None)]);
            journal.commit(set).await.unwrap();
            journal.append(draft(Some(&book), Some(&lesson(n)), &Layer::Base)).await.unwrap();
            journal.find(&book, &lesson(n), &View::base()).await.unwrap().unwrap();
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let chains = journal.chains(None, None, None, 100).await.unwrap();
    assert_eq!(chains.iter().map(|chain| chain.count).sum::<i64>(), 80);
    let used = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let used: usize = shared().query(&direct, used).parse().unwrap();
    assert!((1..=PgBouncer::POOL).contains(&used), "{used} connections to the server");
    let zones = "SELECT count(*) FROM schema_migrations WHERE applied_at NOT LIKE '%+00'";
    assert_eq!(shared().query(&direct, zones), "0", "the times of migrations are UTC");
    db.close().await;
}
