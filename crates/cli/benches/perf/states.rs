//! Benchmarks of whole states: start-up, idle memory, and a book of 10,000 files.

use std::time::Instant;

use panaversity_testkit::postgres::Postgres;
use serde_json::{Value, json};

use crate::server::BenchServer;
use crate::table::Table;
use panaversity_testkit::load::{Connection, call_body, load};

const FILES: usize = 10_000;
const ROUNDS: usize = 15;

pub(crate) async fn start_and_idle(table: &mut Table) {
    let (mut started, mut memory) = (Vec::new(), 0.0);
    for _ in 0..5 {
        let server = BenchServer::on_sqlite().await;
        started.push(server.started_in * 1e3);
        memory = server.memory().0;
        let mut connection = Connection::open(&server.address).await;
        let list =
            connection.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#).await.len();
        if started.len() == 5 {
            let size = list as f64 / 1000.0;
            table.add(
                "tools/list answer",
                format!("{size:.1} KB"),
                String::new(),
                "20 KB".into(),
                size < 20.0,
            );
        }
    }
    started.sort_by(f64::total_cmp);
    table.at_most("start to first answer, new SQLite, median of 5", started[2], String::new(), 100.0);
    table.add("idle memory", format!("{memory:.1} MB"), String::new(), "30 MB".into(), memory < 30.0);
}

pub(crate) async fn large_book(table: &mut Table, cluster: &Postgres) {
    large_book_on(table, &BenchServer::on_sqlite().await, "SQLite").await;
    large_book_on(table, &BenchServer::on_postgres(cluster).await, "PostgreSQL").await;
}

/// The path of one of up to 100,000 files.
pub(crate) fn path(n: usize) -> String {
    format!("content/{:02}-Part/{:02}-Chapter/{:02}-lesson-{n}.md", n / 1000, n / 100 % 10, n % 100)
}

async fn large_book_on(table: &mut Table, server: &BenchServer, database: &str) {
    let began = Instant::now();
    let share = FILES / 32 + 1;
    let written = load(&server.address, 32, std::time::Duration::from_mins(10), move |client, turn| {
        let n = client * share + turn;
        if turn >= share || n >= FILES {
            return call_body("list_books", json!({"book_id": "bench-book"}));
        }
        let arguments = json!({"book_id": "bench-book", "path": path(n), "content": format!("Lesson {n}\n")});
        call_body("write_content", arguments)
    });
    let filled = async {
        let mut connection = Connection::open(&server.address).await;
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            let body = call_body("list_books", json!({}));
            let answer: Value = serde_json::from_slice(connection.post(&body).await).unwrap_or_default();
            let files = &answer["result"]["structuredContent"]["books"][0]["files"];
            if files.as_u64() == Some(FILES as u64) {
                break;
            }
        }
    };
    tokio::select! { _ = written => {}, () = filled => {} }
    crate::table::say(&format!(
        "{FILES} files written on {database} in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    measure(table, server, database).await;
}

async fn measure(table: &mut Table, server: &BenchServer, database: &str) {
    let mut connection = Connection::open(&server.address).await;
    let plan = connection.call("plan_build", json!({"book_id": "bench-book"})).await;
    let mut known = plan["manifest_hash"].as_str().expect("a hash").to_owned();

    let (mut unchanged, mut changed, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let arguments = json!({"book_id": "bench-book", "target_manifest_hash": known});
        let start = Instant::now();
        let plan = connection.call("plan_build", arguments.clone()).await;
        unchanged.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(plan["status"], "unchanged");

        for n in [17, 4711, 9999] {
            let read =
                connection.call("read_content", json!({"book_id": "bench-book", "path": path(n)})).await;
            let content = format!("Lesson {n}, round {round}\n");
            let hash = &read["file_hash_sha256"];
            let edit =
                json!({"book_id": "bench-book", "path": path(n), "content": content, "expected_hash": hash});
            connection.call("write_content", edit).await;
        }
        let start = Instant::now();
        let plan = connection.call("plan_build", arguments).await;
        changed.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(plan["changed_count"], 3);
        known = plan["manifest_hash"].as_str().expect("a hash").to_owned();

        let start = Instant::now();
        connection.call("list_books", json!({"book_id": "bench-book", "include_structure": "all"})).await;
        listed.push(start.elapsed().as_secs_f64() * 1e3);
    }
    for (name, mut times, limit) in [
        ("plan_build, 10,000 files, unchanged", unchanged, 5.0),
        ("plan_build, 10,000 files, 3 changed", changed, 15.0),
        ("list_books with structure, 10,000 files", listed, 30.0),
    ] {
        times.sort_by(f64::total_cmp);
        table.at_most(&format!("{name}, {database}, median"), times[times.len() / 2], String::new(), limit);
    }
    let (now, peak) = server.memory();
    table.add(
        &format!("memory after that, {database}"),
        format!("{now:.0} MB, peak {peak:.0} MB"),
        String::new(),
        "bounded".into(),
        true,
    );
}
