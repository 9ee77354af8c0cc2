//! Benchmarks of single calls: creations and reads of 2 KB files. Each round has its yardsticks beside it.

use panaversity_testkit::load::{Connection, call_body};
use panaversity_testkit::postgres::Postgres;
use serde_json::json;

use crate::rounds::{CLIENTS, Figures, ROUNDS, add_costs, measure, warm_up};
use crate::server::{BenchServer, pgbench, sqlite_commits};
use crate::table::{Table, median};

/// Number of files that are read.
const FILES: usize = 200;
/// Longest write-ahead log of `SQLite`, in MB.
const LONGEST_LOG: f64 = 64.0;
/// Numbers of clients from which the paths of other loads are distinct.
const WARMING: usize = 40;
const ALONE: usize = 90;

/// About 2 KB of text, different for every pair of numbers.
fn text(client: usize, turn: usize) -> String {
    let words = "A lesson is a promise to the reader that the next page will be worth the turning. ";
    format!("# Lesson {client}.{turn}\n\n{}", words.repeat(25))
}

fn lesson(client: usize, turn: usize) -> String {
    format!(
        "content/{:02}-Part/{:02}-Chapter/{:02}-lesson-{client}-{turn}.md",
        client % 100,
        (turn / 100) % 100,
        turn % 100
    )
}

/// Creations of files, under the names of clients from `first` on.
pub(crate) fn create(first: usize) -> impl Fn(usize, usize) -> String + Send + Sync + Clone + 'static {
    move |client, turn| {
        let client = first + client;
        let arguments =
            json!({"book_id": "bench-book", "path": lesson(client, turn), "content": text(client, turn)});
        call_body("write_content", arguments)
    }
}

pub(crate) async fn writes(table: &mut Table, cluster: &Postgres) {
    let (mut many, mut one, mut yardsticks) = (Vec::new(), Vec::new(), Vec::new());
    let mut longest_log = 0.0_f64;
    for _ in 0..ROUNDS {
        let server = BenchServer::on_sqlite().await;
        warm_up(&server, create(WARMING)).await;
        many.push(measure(&server, CLIENTS, create(0)).await);
        yardsticks.push(sqlite_commits(2.0));
        one.push(measure(&server, 1, create(ALONE)).await);
        longest_log = longest_log.max(server.log_megabytes());
    }
    let commits: Vec<_> = beside(&many, yardsticks.iter().map(|(commits, _)| *commits));
    table.ratio("create 2 KB, 32 clients, SQLite", &commits, "1 client committing", 0.45);
    add_costs(table, "create 2 KB, 32 clients, SQLite", &many, Some(450.0));
    let commit_ms = median(yardsticks.iter().map(|(_, median)| *median));
    let p50 = median(one.iter().map(|round| round.p50));
    let named = format!("a commit: {commit_ms:.2} ms");
    table.at_most("create 2 KB, 1 client, SQLite, p50", p50, named, commit_ms + 1.1);
    add_costs(table, "create 2 KB, 1 client, SQLite", &one, None);
    let log = format!("{longest_log:.0} MB");
    let bar = format!("{LONGEST_LOG} MB");
    table.add("write-ahead log after that", log, String::new(), bar, longest_log <= LONGEST_LOG);

    let (mut many, mut one, mut yardsticks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let server = BenchServer::on_postgres(cluster).await;
        warm_up(&server, create(WARMING)).await;
        many.push(measure(&server, CLIENTS, create(0)).await);
        let (transactions, _) = pgbench(cluster, CLIENTS, 3);
        one.push(measure(&server, 1, create(ALONE)).await);
        let (_, alone) = pgbench(cluster, 1, 2);
        yardsticks.push((transactions, alone));
    }
    let transactions = beside(&many, yardsticks.iter().map(|(transactions, _)| *transactions));
    table.ratio("create 2 KB, 32 clients, PostgreSQL", &transactions, "pgbench -N -c 32", 0.4);
    add_costs(table, "create 2 KB, 32 clients, PostgreSQL", &many, None);
    let alone = median(yardsticks.iter().map(|(_, alone)| *alone));
    let p50 = median(one.iter().map(|round| round.p50));
    let named = format!("pgbench -N -c 1: {alone:.2} ms");
    table.at_most("create 2 KB, 1 client, PostgreSQL, p50", p50, named, 2.0 * alone + 1.0);
    add_costs(table, "create 2 KB, 1 client, PostgreSQL", &one, None);
}

/// The rates of rounds beside those of the yardstick.
fn beside(rounds: &[Figures], yardsticks: impl Iterator<Item = f64>) -> Vec<(f64, f64)> {
    rounds.iter().map(|round| round.rate).zip(yardsticks).collect()
}

pub(crate) async fn reads(table: &mut Table, cluster: &Postgres) {
    let server = BenchServer::on_sqlite().await;
    reads_of(table, &server, "SQLite").await;
    drop(server);
    let server = BenchServer::on_postgres(cluster).await;
    reads_of(table, &server, "PostgreSQL").await;
}

async fn reads_of(table: &mut Table, server: &BenchServer, database: &str) {
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
    let list =
        |_: usize, _: usize| r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#.to_owned();
    let (mut many, mut lists, mut base, mut overlay) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    warm_up(server, read(None)).await;
    for _ in 0..ROUNDS {
        many.push(measure(server, CLIENTS, read(None)).await);
        lists.push(measure(server, CLIENTS, list).await);
        base.push(measure(server, 1, read(None)).await);
        overlay.push(measure(server, 1, read(Some("reader"))).await);
    }
    let work = format!("read 2 KB, 32 clients, {database}");
    let lists = beside(&many, lists.iter().map(|round| round.rate));
    table.ratio(&work, &lists, "tools/list", 0.33);
    add_costs(table, &work, &many, None);
    add_costs(table, &format!("read 2 KB, 1 client, {database}"), &base, None);
    let p95 = |rounds: &[Figures]| median(rounds.iter().map(|round| round.p95));
    let work = format!("overlay read, 1 client, p95, {database}");
    table.at_most(&work, p95(&overlay), format!("base read p95: {:.2} ms", p95(&base)), p95(&base) + 0.3);
}
