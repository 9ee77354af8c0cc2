//! A PostgreSQL URL with several servers: the first that accepts the connection and is of the required
//! kind is used, and another one after its loss.

use std::time::{Duration, Instant};

use panaversity_model::fault::FaultKind;
use panaversity_store::{Database, DatabaseUrl, PoolOptions, migrations};
use panaversity_testkit::postgres::Postgres;
use panaversity_testkit::proxy::Proxy;

const POOL: PoolOptions = PoolOptions { size: 3, overflow: 0, timeout: Duration::from_secs(20) };

fn url(servers: &[&str], more: &str) -> DatabaseUrl {
    DatabaseUrl::parse(&format!("postgresql://postgres@{}/postgres?{more}", servers.join(","))).unwrap()
}

async fn connect(servers: &[&str], more: &str) -> Database {
    Database::connect(&url(servers, more), POOL).await.unwrap()
}

fn address(cluster: &Postgres) -> String {
    cluster.address().to_string()
}

/// An address without a listener.
fn nobody() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn is_migrated(cluster: &Postgres) -> bool {
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'schema_migrations'";
    cluster.query(&cluster.url("postgres"), tables) == "1"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_server_that_answers_is_used() {
    let cluster = Postgres::start();
    for form in [
        url(&[&nobody(), &address(&cluster)], ""),
        url(&[&address(&cluster), &nobody()], ""),
        url(&["127.0.0.1:1", "127.0.0.1:2", &address(&cluster)], "target_session_attrs=primary"),
        url(&[&nobody(), &address(&cluster)], "target_session_attrs=prefer-standby"),
    ] {
        let db = Database::connect(&form, POOL).await.unwrap();
        assert!(migrations::current(&db).await.is_ok(), "{}", form.masked());
        db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_kind_is_passed_over() {
    let (frozen, writable) = (Postgres::start(), Postgres::start());
    frozen.set_read_only(true);
    let (one, two) = (address(&frozen), address(&writable));
    let db = connect(&[&one, &two], "target_session_attrs=read-write").await;
    migrations::upgrade(&db, None).await.unwrap();
    assert!(is_migrated(&writable) && !is_migrated(&frozen));
    db.close().await;

    for (wanted, said) in [("standby", "it is no standby"), ("read-only", "it is not read-only")] {
        let only = url(&[&two], &format!("target_session_attrs={wanted}"));
        let fault = Database::connect(&only, POOL).await.err().unwrap();
        assert!(fault.detail.contains(said), "{fault}");
        assert!(fault.is_transient, "it may become one");
    }
    let none = Database::connect(&url(&[&one, &nobody()], "target_session_attrs=primary"), POOL).await;
    none.unwrap().close().await;
    let none = url(&[&one, &nobody()], "target_session_attrs=read-write");
    let fault = Database::connect(&none, POOL).await.err().unwrap();
    assert!(fault.detail.contains(&format!("{one}: ")) && fault.detail.contains("read-only"), "{fault}");
    assert_eq!((fault.kind, fault.is_transient), (FaultKind::Database, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_the_search() {
    let (guarded, open) = (Postgres::start(), Postgres::start());
    guarded.require_password("right");
    let both = format!("postgresql://postgres:wrong@{},{}/postgres", address(&guarded), address(&open));
    let fault = Database::connect(&DatabaseUrl::parse(&both).unwrap(), POOL).await.err().unwrap();
    assert!(fault.detail.contains("password authentication failed") && !fault.is_transient, "{fault}");
}

/// Retries until the database answers.
async fn answers(db: &Database) {
    let start = Instant::now();
    while let Err(why) = migrations::current(db).await {
        assert!(start.elapsed() < Duration::from_mins(1), "{why:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_server_is_lost_the_next_is_used() {
    let cluster = Postgres::start();
    let (one, two) = (Proxy::to(cluster.address()).await, Proxy::to(cluster.address()).await);
    let (first, second) = (one.address().to_string(), two.address().to_string());
    let db = connect(&[&first, &second], "target_session_attrs=read-write").await;
    migrations::upgrade(&db, None).await.unwrap();
    two.refuse();
    answers(&db).await;
    two.heal();
    drop(one);
    answers(&db).await;
    db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_becomes_read_only_is_left_for_another() {
    let (one, two) = (Postgres::start(), Postgres::start());
    let db = connect(&[&address(&one), &address(&two)], "target_session_attrs=read-write").await;
    migrations::upgrade(&db, None).await.unwrap();
    assert!(is_migrated(&one) && !is_migrated(&two));
    one.set_read_only(true);
    let start = Instant::now();
    // Waits until the connection is idle, to reuse it: a new one would be checked when it is made.
    let busy =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'panaversity-fs' AND state <> 'idle'";
    while let Err(why) = migrations::upgrade(&db, None).await {
        assert!(start.elapsed() < Duration::from_secs(20), "{why:?}");
        while one.query(&one.url("postgres"), busy) != "0" {}
    }
    assert!(is_migrated(&two), "what is written goes to the server that takes it");
    db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_as_good_as_an_address() {
    let cluster = Postgres::start();
    let documented = cluster.socket_url("postgres");
    let (folder, port) = documented.split_once("host=").unwrap().1.split_once("&port=").unwrap();
    let encoded = format!("postgresql://postgres:unused@{}:{port}/postgres", folder.replace('/', "%2F"));
    for url in [documented.replace("postgresql:", "postgresql+asyncpg:"), encoded] {
        let db = Database::connect(&DatabaseUrl::parse(&url).unwrap(), POOL).await.unwrap();
        assert!(migrations::current(&db).await.is_ok(), "{url}");
        db.close().await;
    }
}
