//! Pages of a book of 10,000 files: their size, and the time that the server takes for them.

use std::time::{Duration, Instant};

use serde_json::json;

use super::page;
use crate::fixtures::{BOOK, fresh};
use crate::harness::{Db, Storage, TestBackend};

const FILES: usize = 10_000;
/// Longest time of a page, the fastest of some.
const TIME: Duration = Duration::from_millis(50);

fn path(n: usize) -> String {
    format!("content/{:02}-Part/{:02}-Chapter/{:02}-lesson-{n}.md", n / 2_000, n / 100 % 20, n % 100)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn a_page_of_a_book_of_ten_thousand_files_takes_fifty_milliseconds() {
    for backend in [TestBackend::new(Db::Sqlite, Storage::Fs), TestBackend::new(Db::Postgres, Storage::S3)] {
        let (_env, _server, client) = fresh(backend).await;
        for from in (0..FILES).step_by(500) {
            let changes: Vec<_> = (from..from + 500)
                .map(|n| json!({ "op": "write", "path": path(n), "content": format!("# Lesson {n}\n\nText of it.\n") }))
                .collect();
            let set = json!({ "book_id": BOOK, "changes": changes, "message": "Bring it in" });
            client.call("apply_changes", set).await.expect_ok();
        }
        for page_path in [
            "/".to_owned(),
            format!("/ui/books/{BOOK}"),
            format!("/ui/books/{BOOK}?folder=content/03-Part/07-Chapter"),
            format!("/ui/books/{BOOK}/files/{}", path(7_777)),
            format!("/ui/books/{BOOK}/history/{}", path(7_777)),
            format!("/ui/books/{BOOK}/changes"),
        ] {
            let mut best = Duration::MAX;
            for _ in 0..5 {
                let began = Instant::now();
                page(&client, &page_path, 200).await;
                best = best.min(began.elapsed());
            }
            eprintln!("{backend:?} {page_path}: {best:?}");
            assert!(best <= TIME, "{backend:?} {page_path}: {best:?}");
        }
    }
}
