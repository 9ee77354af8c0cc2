//! `grep_search`: a search finds everything or says that it did not, from memory where it can, and ends in
//! time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use panaversity_model::path::Prefix;
use panaversity_model::ports::Clock;
use panaversity_model::{Error, ErrorCode, Layer};
use panaversity_service::Service;
use panaversity_service::grep::{GrepEnd, GrepQuery, GrepResult};
use panaversity_testkit::FaultMode;
use panaversity_testkit::samples::{lesson, overlay};

use crate::fixture::{ServiceFixture, long, reading};

/// Lines with `needle` in the view of a layer's owner.
async fn search(fixture: &ServiceFixture, server: &Service, layer: &Layer) -> Result<GrepResult, Error> {
    let query = GrepQuery {
        pattern: "needle".to_owned(),
        ignore_case: false,
        prefix: Prefix::everything(),
        accepts: Arc::new(|_| true),
        context_lines: 1,
        max_results: 100,
    };
    reading(server, async |call| {
        let access = call.may_search(Some(fixture.book.clone()), layer.clone())?;
        call.grep_search(&access, query).await
    })
    .await
}

/// A book whose files all match, inline and in objects, with an overlay above it.
async fn filled(fixture: &ServiceFixture) -> Service {
    let server = fixture.server();
    for n in 0..12 {
        let text = if n % 2 == 0 { format!("needle {n}") } else { long(&format!("needle {n}")) };
        fixture.put(&server, &Layer::Base, &lesson(n), &text).await;
    }
    fixture.put(&server, &overlay("ann"), &lesson(3), &long("needle of ann")).await;
    fixture.quiet().await;
    server
}

#[tokio::test]
async fn a_search_whose_engines_fail_is_an_error_and_never_finds_less() {
    let fixture = ServiceFixture::new();
    filled(&fixture).await;
    let ann = overlay("ann");
    let due = search(&fixture, &fixture.server(), &ann).await.unwrap();
    assert_eq!((due.matches.len(), due.files_searched, due.ended_by), (12, 12, None));
    let mut failed = 0;
    for call in 0..40 {
        fixture.faults.reset();
        let server = fixture.server();
        fixture.faults.arm(call, FaultMode::FailBefore);
        match search(&fixture, &server, &ann).await {
            Ok(found) => assert_eq!(found, due, "call {call}"),
            Err(error) => {
                failed += 1;
                let code = error.code();
                let is_known =
                    [ErrorCode::DatabaseUnavailable, ErrorCode::StorageUnavailable].contains(&code);
                assert!(is_known, "{error:?}");
            }
        }
    }
    assert!((9..=20).contains(&failed), "stamps and rows of two layers, blobs, objects: {failed}");
}

#[tokio::test]
async fn a_second_search_reads_no_text_again_but_looks_for_changes() {
    let fixture = ServiceFixture::new();
    let server = filled(&fixture).await;
    let first = search(&fixture, &server, &Layer::Base).await.unwrap();
    fixture.faults.reset();
    assert_eq!(search(&fixture, &server, &Layer::Base).await.unwrap(), first);
    assert_eq!(fixture.faults.calls(), ["journal.stamp"]);
    fixture.put(&server, &Layer::Base, &lesson(4), "another needle").await;
    fixture.quiet().await;
    let changed = search(&fixture, &server, &Layer::Base).await.unwrap();
    assert_eq!(changed.matches[4].line.line, "another needle");
}

/// Clock that advances by a step with each look at it.
struct SteppingClock {
    step: Duration,
    looks: AtomicU64,
}

impl Clock for SteppingClock {
    fn monotonic(&self) -> Duration {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        self.step * u32::try_from(looks).unwrap()
    }
}

#[tokio::test]
async fn a_search_that_takes_too_long_gives_what_it_has_and_says_so() {
    let fixture = ServiceFixture::new();
    filled(&fixture).await;
    let after = |step| {
        let clock = SteppingClock { step: Duration::from_secs(step), looks: AtomicU64::new(0) };
        fixture.server_at(Arc::new(clock))
    };
    let some = search(&fixture, &after(1), &Layer::Base).await.unwrap();
    assert_eq!(some.ended_by, Some(GrepEnd::Time));
    assert!((1..12).contains(&some.files_searched), "{}", some.files_searched);
    assert_eq!(some.matches.len() as u64, some.files_searched);
    assert_eq!(some.matches[0].path, lesson(0));
    let none = search(&fixture, &after(11), &Layer::Base).await.unwrap_err();
    assert_eq!(none.code(), ErrorCode::Timeout);
}
