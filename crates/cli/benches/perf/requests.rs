//! Benchmarks of single calls: writes and reads of 2 KB files.

use std::time::Duration;

use panaversity_testkit::postgres::Postgres;
use serde_json::json;

use crate::server::{BenchServer, pgbench, sqlite_commits};
use crate::table::Table;
use panaversity_testkit::load::{Connection, RequestLoad, call_body, load};

const LASTING: Duration = Duration::from_secs(6);
const CLIENTS: usize = 32;
/// Number of files that are read.
const FILES: usize = 200;

/// About 2 KB of text, different for every pair of numbers.
fn text(client: usize, turn: usize) -> String {
    let words = "A lesson is a promise to the reader that the next page will be worth the turning. ";
    format!("# Lesson {client}.{turn}\n\n{}", words.repeat(25))
}

fn lesson(client: usize, turn: usize) -> String {
    format!(
        "content/{:02}-Part/{:02}-Chapter/{:02}-lesson-{turn}.md",
        client % 100,
        (turn / 100) % 100,
        turn % 100
    )
}

async fn write_load(server: &BenchServer, clients: usize) -> RequestLoad {
    load(&server.address, clients, LASTING, |client, turn| {
        let arguments =
            json!({"book_id": "bench-book", "path": lesson(client, turn), "content": text(client, turn)});
        call_body("write_content", arguments)
    })
    .await
}

pub(crate) async fn writes(table: &mut Table, cluster: &Postgres) {
    let server = BenchServer::on_sqlite().await;
    let many = write_load(&server, CLIENTS).await;
    let (commits, commit_ms) = sqlite_commits(3.0);
    table.at_least("write 2 KB, 32 clients, SQLite", many.rate, ("1 client committing", commits), 8.0);
    let one = write_load(&server, 1).await;
    let limit = 1.5 * commit_ms + 2.0;
    let named = format!("a commit: {commit_ms:.2} ms");
    table.at_most("write 2 KB, 1 client, SQLite, median", one.quantile(0.5), named, limit);
    drop(server);

    let server = BenchServer::on_postgres(cluster).await;
    let many = write_load(&server, CLIENTS).await;
    let (transactions, _) = pgbench(cluster, CLIENTS, 4);
    table.at_least("write 2 KB, 32 clients, PostgreSQL", many.rate, ("pgbench -N -c 32", transactions), 0.3);
    let one = write_load(&server, 1).await;
    let (_, alone) = pgbench(cluster, 1, 3);
    let named = format!("pgbench -N -c 1: {alone:.2} ms");
    table.at_most("write 2 KB, 1 client, PostgreSQL, median", one.quantile(0.5), named, 1.5 * alone + 2.0);
}

pub(crate) async fn reads(table: &mut Table, cluster: &Postgres) {
    let server = BenchServer::on_sqlite().await;
    reads_of(table, &server, "SQLite", 0.4).await;
    drop(server);
    let server = BenchServer::on_postgres(cluster).await;
    reads_of(table, &server, "PostgreSQL", 0.2).await;
}

async fn reads_of(table: &mut Table, server: &BenchServer, database: &str, factor: f64) {
    let mut connection = Connection::open(&server.address).await;
    for n in 0..FILES {
        let arguments = json!({"book_id": "bench-book", "path": lesson(n, n), "content": text(n, n)});
        connection.call("write_content", arguments).await;
        let arguments = json!({"book_id": "bench-book", "path": lesson(n, n), "content": text(n, n + 1), "user_id": "reader"});
        connection.call("write_content", arguments).await;
    }
    let read = |user: Option<&'static str>| {
        move |client: usize, turn: usize| {
            let n = (client * 7 + turn) % FILES;
            let mut arguments = json!({"book_id": "bench-book", "path": lesson(n, n)});
            if let Some(user) = user {
                arguments["user_id"] = user.into();
            }
            call_body("read_content", arguments)
        }
    };
    let many = load(&server.address, CLIENTS, LASTING, read(None)).await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    let lists = load(&server.address, CLIENTS, LASTING, move |_, _| list.to_owned()).await;
    let name = format!("read 2 KB, 32 clients, {database}");
    table.at_least(&name, many.rate, ("tools/list", lists.rate), factor);

    let base = load(&server.address, 1, LASTING, read(None)).await.quantile(0.95);
    let overlay = load(&server.address, 1, LASTING, read(Some("reader"))).await.quantile(0.95);
    let name = format!("overlay read, 1 client, p95, {database}");
    table.at_most(&name, overlay, format!("base read p95: {base:.2} ms"), base + 0.5);
}
