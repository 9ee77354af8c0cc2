//! `validate_book` over the fakes: a fault of the infrastructure is never taken for a fault of the book,
//! damaged bytes are found where a page is read, and nothing is changed.

use panaversity_model::validation::{Severity, ValidationReport};
use panaversity_model::{ContentHash, Error, Layer};
use panaversity_service::Service;
use panaversity_testkit::FaultMode;
use panaversity_testkit::memory::location;
use panaversity_testkit::samples::{key, lesson, overlay};

use crate::fixture::{ServiceFixture, long};

async fn validate(fixture: &ServiceFixture, server: &Service) -> Result<ValidationReport, Error> {
    server.validate_book(&fixture.book, &mut |_, _| {}).await
}

/// Messages of a report, by path.
fn told(report: &ValidationReport) -> Vec<(String, Severity, String)> {
    let all = report.errors.iter().chain(&report.warnings);
    all.map(|issue| (issue.path.clone(), issue.severity, issue.located_message())).collect()
}

/// A book with a broken link, a large page and a file that was changed in the tree.
async fn faulty() -> (ServiceFixture, Service) {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    fixture.put(&server, &Layer::Base, &lesson(1), "[x](./none.md)").await;
    fixture.put(&server, &Layer::Base, &lesson(2), &long("large")).await;
    fixture.put(&server, &Layer::Base, &lesson(3), "third").await;
    fixture.put(&server, &overlay("ann"), &lesson(4), "[x](./hers.md)").await;
    fixture.idle(&server).await;
    fixture.tree.tamper(&location(&key(&fixture.book, &lesson(3), &Layer::Base)), Some(b"other bytes"));
    fixture.tree.tamper(&location(&key(&fixture.book, &lesson(9), &overlay("bob"))), Some(b"foreign"));
    (fixture, server)
}

#[tokio::test]
async fn a_fault_of_any_port_ends_it_and_is_no_issue() {
    let (fixture, server) = faulty().await;
    fixture.faults.reset();
    let due = told(&validate(&fixture, &server).await.unwrap());
    assert_eq!(due.len(), 2, "{due:?}");
    let calls = fixture.faults.calls().len();
    assert!(calls > 5, "{calls}");
    for call in 0..calls {
        // Another server has no manifest in memory.
        let server = fixture.server();
        fixture.faults.reset();
        fixture.faults.arm(call, FaultMode::FailBefore);
        let ended = validate(&fixture, &server).await;
        fixture.faults.reset();
        if let Ok(report) = ended {
            assert_eq!(told(&report), due, "call {call}");
        }
        assert_eq!(told(&validate(&fixture, &server).await.unwrap()), due, "after call {call}");
    }
}

#[tokio::test]
async fn damaged_bytes_of_a_page_are_an_error_and_the_other_pages_are_checked() {
    let (fixture, server) = faulty().await;
    let before = told(&validate(&fixture, &server).await.unwrap());
    let (sound, damaged) = (long("large"), long("egral"));
    fixture.objects.damage(ContentHash::of(sound.as_bytes()), Some(damaged.into_bytes()));
    // First it is found by reading, then by the mark on the blob.
    for message in ["the bytes of the file are damaged", "the bytes of the file are damaged"] {
        let issue = (lesson(2).to_string(), Severity::Error, message.to_owned());
        let mut now = told(&validate(&fixture, &server).await.unwrap());
        assert!(now.contains(&issue), "{now:?}");
        now.retain(|one| *one != issue);
        assert_eq!(now, before);
    }
}
