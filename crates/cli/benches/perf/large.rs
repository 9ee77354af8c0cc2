//! Benchmarks of a large book: what calls cost at 100,000 files, and that those about one file cost no more than
//! at 1,000.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use panaversity_testkit::load::{Connection, call_body};
use panaversity_testkit::postgres::Postgres;
use serde_json::{Value, json};

use crate::pipeline::{hydrate, ingest};
use crate::requests::create;
use crate::rounds::{CLIENTS, ROUNDS, measure, warm_up};
use crate::server::{BenchServer, folder};
use crate::states::path;
use crate::table::{Table, median};

const FEW: usize = 1_000;
/// Most times that a call may take longer in the large book than in the small one.
const SLOWER: f64 = 1.2;
/// Most memory in MB: anonymous, and of mapped files.
const MEMORY: (f64, f64) = (100.0, 64.0);

pub(crate) async fn books(table: &mut Table, cluster: &Postgres) {
    let files =
        std::env::var("PANAVERSITY_BENCH_FILES").map_or(100_000, |files| files.parse().expect("a number"));
    let servers = [BenchServer::on_sqlite().await, BenchServer::on_sqlite().await];
    book(table, "SQLite", servers, files).await;
    let servers = [BenchServer::on_postgres(cluster).await, BenchServer::on_postgres(cluster).await];
    book(table, "PostgreSQL", servers, files).await;
}

async fn book(table: &mut Table, database: &str, [small, large]: [BenchServer; 2], files: usize) {
    let (large, is_done) = (Arc::new(large), Arc::new(AtomicBool::new(false)));
    let watched = (large.clone(), is_done.clone());
    let watch = std::thread::spawn(move || most_memory(&watched.0, &watched.1));
    let work = format!("{files} files, {database}");
    transfers(table, &work, &small, &large, files);
    calls(table, &work, &large).await;
    beside_a_small_book(table, &work, &small, &large, files).await;
    is_done.store(true, Ordering::Release);
    let (anonymous, mapped) = watch.join().expect("the watch");
    let memory = format!("{anonymous:.0} MB anonymous, {mapped:.0} MB mapped");
    let bar = format!("{} MB, {} MB", MEMORY.0, MEMORY.1);
    let met = anonymous <= MEMORY.0 && mapped <= MEMORY.1;
    table.add(&format!("{work}, memory at its peak"), memory, String::new(), bar, met);
}

/// The most memory that a server has until the flag is set: anonymous, and of mapped files.
fn most_memory(server: &BenchServer, is_done: &AtomicBool) -> (f64, f64) {
    let mut most = (0.0_f64, 0.0_f64);
    while !is_done.load(Ordering::Acquire) {
        let (anonymous, mapped) = server.anonymous_and_mapped();
        most = (most.0.max(anonymous), most.1.max(mapped));
        std::thread::sleep(Duration::from_millis(100));
    }
    most
}

/// Writes a book of this many small files.
fn generate(folder: &Path, files: usize) {
    for n in 0..files {
        let file = folder.join(path(n).trim_start_matches("content/"));
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, format!("# Lesson {n}\n")).expect("a write");
    }
}

fn transfers(table: &mut Table, work: &str, small: &BenchServer, large: &BenchServer, files: usize) {
    let (few, many, output) = (folder(), folder(), folder().join("output"));
    generate(&few, FEW);
    generate(&many, files);
    ingest(small, &few);
    for (name, took, limit) in [
        ("ingest, first", ingest(large, &many), 60_000.0),
        ("ingest, unchanged", ingest(large, &many), 3_000.0),
        ("hydrate, first", hydrate(large, &output), 25_000.0),
        ("hydrate, unchanged", hydrate(large, &output), 600.0),
    ] {
        table.at_most(&format!("{work}, {name}"), took, String::new(), limit);
    }
}

async fn calls(table: &mut Table, work: &str, server: &BenchServer) {
    let mut connection = Connection::open(&server.address).await;
    let book = json!({"book_id": "bench-book"});
    let known = connection.call("plan_build", book.clone()).await["manifest_hash"].clone();
    let plan = json!({"book_id": "bench-book", "target_manifest_hash": known});
    let glob = json!({"book_id": "bench-book", "pattern": "content/**/*-lesson-*77.md"});
    for (name, tool, arguments, limit) in [
        ("archive link, first", "get_book_archive", book.clone(), 1_500.0),
        ("archive link, again, median", "get_book_archive", book.clone(), 1_500.0),
        ("plan_build, unchanged, median", "plan_build", plan, 20.0),
        ("list_books, median", "list_books", book.clone(), 20.0),
        ("glob_search, median", "glob_search", glob, 150.0),
        ("verify_audit_chain, median", "verify_audit_chain", book, 3_000.0),
    ] {
        let mut took = Vec::new();
        for _ in 0..if name.ends_with("median") { ROUNDS } else { 1 } {
            let began = Instant::now();
            let answer: Value = connection.call(tool, arguments.clone()).await;
            took.push(began.elapsed().as_secs_f64() * 1e3);
            assert_ne!(answer["valid"], false, "{answer}");
        }
        table.at_most(&format!("{work}, {name}"), median(took.into_iter()), String::new(), limit);
    }
}

async fn beside_a_small_book(
    table: &mut Table,
    work: &str,
    small: &BenchServer,
    large: &BenchServer,
    files: usize,
) {
    let read = |files: usize| {
        move |client: usize, turn: usize| {
            let n = (client * 7_919 + turn * 31) % files;
            call_body("read_content", json!({"book_id": "bench-book", "path": path(n)}))
        }
    };
    warm_up(small, read(FEW)).await;
    warm_up(large, read(files)).await;
    let (mut reads, mut creations) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let few = measure(small, CLIENTS, read(FEW)).await;
        reads.push((measure(large, CLIENTS, read(files)).await.rate, few.rate));
        // Rounds of clients whose names are distinct.
        let few = measure(small, CLIENTS, create(1_000 * (round + 1))).await;
        creations.push((measure(large, CLIENTS, create(1_000 * (round + 1))).await.rate, few.rate));
    }
    for (name, rounds) in [("read", reads), ("create", creations)] {
        let name = format!("{work}, {name} 32 clients");
        table.ratio(&name, &rounds, &format!("{FEW} files"), 1.0 / SLOWER);
    }
}
