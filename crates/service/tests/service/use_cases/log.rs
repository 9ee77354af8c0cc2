//! Recording of calls, queries of the log, verification of chains. Proves R5, R6 and R7 for them.

use panaversity_model::audit::{EntryFilter, Operation};
use panaversity_model::{Error, ErrorCode, Fault, Layer, Refusal};
use panaversity_service::{Call, EndedCall, Service};
use panaversity_testkit::FaultMode;
use panaversity_testkit::samples::{book, lesson, overlay};

use crate::fixture::{AGENT, ServiceFixture, long, reading, want};
use crate::invariants::{chains_are_whole, entries};

fn conflict(why: &str) -> Refusal {
    Refusal::Conflict { why: why.to_owned(), current: None, details: None }
}

/// A recorded call that reads a file of the base, with this result.
async fn ended_with<T>(fixture: &ServiceFixture, server: &Service, result: Result<T, Error>) -> EndedCall<T> {
    fixture.run(server, Operation::Read, Some(&lesson(1)), &Layer::Base, async |_| result).await
}

#[tokio::test]
async fn r6_every_call_leaves_its_entry_once() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let write = async || {
        let one = vec![want(&lesson(1), Some("a"), None)];
        let change = async |call: &mut Call| {
            let access = call.may_write(fixture.book.clone(), Layer::Base)?;
            call.change(&access, one).await
        };
        fixture.run(&server, Operation::Write, Some(&lesson(1)), &Layer::Base, change).await
    };
    // The transaction of its change records it.
    let changed = write().await;
    assert!(changed.result.is_ok() && changed.call.recorded);
    assert_eq!(entries(&fixture).await.len(), 1);
    // Nothing changed, so the entry is written afterwards.
    let again = write().await;
    assert!(again.result.is_ok() && !again.call.recorded);
    let refuse = async |_: &mut Call| Err::<(), _>(conflict("another\nline").into());
    let refused =
        fixture.run(&server, Operation::Delete, Some(&lesson(1)), &overlay("ann"), refuse).await.result;
    assert_eq!(refused, Err(conflict("another\nline").into()));
    let fault = Fault::storage("not for the caller");
    let breaks = async |_: &mut Call| Err::<(), _>(fault.clone().into());
    let broken = fixture.run(&server, Operation::Read, None, &Layer::Base, breaks).await.result;
    assert_eq!(broken, Err(fault.into()));

    let mut found = entries(&fixture).await;
    found.reverse();
    let columns = |n: usize| {
        let entry = &found[n];
        (entry.operation.as_str(), entry.status.as_str(), entry.user_id.as_str(), entry.error_code.as_deref())
    };
    assert_eq!(columns(0), ("WRITE", "success", "__base__", None));
    assert_eq!(columns(1), ("WRITE", "success", "__base__", None));
    assert_eq!(columns(2), ("DELETE", "refused", "ann", Some("CONFLICT")));
    assert_eq!(columns(3), ("READ", "failed", "__base__", Some("STORAGE_UNAVAILABLE")));
    assert_eq!(found[2].error_message.as_deref(), Some("another\\nline"));
    assert_eq!(found[3].error_message, None, "what broke is for the log of the server only");
    assert_eq!((found[0].is_change(), found[1].is_change()), (true, false));
    assert_eq!(found[1].prev_hash.as_ref(), Some(&found[0].entry_hash), "they are links of one chain");
    assert!(found.iter().all(|entry| entry.agent_id == AGENT), "R7");
    assert_eq!(found[0].request_id, changed.call.caller.request.to_string());
    chains_are_whole(&fixture, &server).await;
}

#[tokio::test]
async fn r6_a_panic_of_a_use_case_is_a_fault_and_leaves_its_entry() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let in_words: fn() = || panic!("a bug");
    let with_details: fn() = || {
        let detail = "a".to_owned();
        panic!("{detail} bug");
    };
    for panics in [in_words, with_details] {
        let use_case = async |_: &mut Call| {
            panics();
            Ok(())
        };
        let path = lesson(1);
        let ended = fixture.run(&server, Operation::Read, Some(&path), &overlay("ann"), use_case).await;
        assert_eq!(ended.result, Err(Fault::internal("the call panicked: a bug").into()));
    }
    let log = entries(&fixture).await;
    assert_eq!(log.len(), 2);
    for entry in log {
        assert_eq!((entry.status.as_str(), entry.error_code.as_deref()), ("failed", Some("INTERNAL")));
        assert_eq!((entry.path.as_str(), entry.user_id.as_str()), (lesson(1).as_str(), "ann"));
        assert_eq!(entry.error_message, None, "what broke is for the log of the server only");
    }
    chains_are_whole(&fixture, &server).await;
}

#[tokio::test]
async fn r6_a_success_that_cannot_be_recorded_is_a_fault() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    for failure in FaultMode::ALL {
        fixture.faults.reset();
        fixture.faults.arm(0, failure);
        let ended = ended_with(&fixture, &server, Ok("the content")).await;
        match ended.result {
            Err(Error::Broken(fault)) => {
                assert_eq!(
                    (fault.kind.code(), fault.outcome_unknown),
                    (ErrorCode::DatabaseUnavailable, false)
                );
            }
            other => panic!("{failure:?}: {other:?}"),
        }
        assert_eq!(fixture.faults.calls(), ["journal.append"], "{failure:?}");
    }
}

#[tokio::test]
async fn a_failure_that_cannot_be_recorded_stays_what_it_was() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    for error in [Error::from(conflict("another")), Fault::storage("broken before").into()] {
        fixture.faults.reset();
        fixture.faults.arm(0, FaultMode::FailBefore);
        let ended = ended_with::<()>(&fixture, &server, Err(error.clone())).await;
        assert_eq!(ended.result, Err(error));
        assert_eq!(fixture.faults.calls(), ["journal.append"]);
    }
    assert_eq!(entries(&fixture).await, []);
}

#[tokio::test]
async fn a_call_that_is_not_recorded_leaves_no_entry() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    fixture.faults.reset();
    assert_eq!(reading(&server, async |_| Ok("the content")).await, Ok("the content"));
    for error in [Error::from(conflict("another")), Fault::storage("broken").into()] {
        assert_eq!(reading(&server, async |_| Err::<(), _>(error.clone())).await, Err(error));
    }
    let panicked = reading(&server, async |_| -> Result<(), Error> { panic!("a bug") }).await;
    assert_eq!(panicked, Err(Fault::internal("the call panicked: a bug").into()));
    assert_eq!((fixture.faults.calls(), entries(&fixture).await), (vec![], vec![]));
}

#[tokio::test]
async fn r5_a_verification_looks_at_the_chains_of_its_layer_and_no_others() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let ann = overlay("ann");
    for text in ["a", "b", "c"] {
        fixture.put(&server, &Layer::Base, &lesson(1), text).await;
    }
    fixture.put(&server, &Layer::Base, &lesson(2), &long("d")).await;
    for text in ["e", "f"] {
        fixture.put(&server, &ann, &lesson(1), text).await;
    }
    let checked = async |layer: &Layer, of_book: bool, path: Option<usize>| {
        let (book, path) = (of_book.then(|| fixture.book.clone()), path.map(lesson));
        let path = path.as_ref().map(panaversity_model::BookPath::as_str);
        let verify = async |call: &mut Call| {
            let access = call.may_verify(book, layer.clone())?;
            call.verify_audit_chain(&access, path).await
        };
        let report = reading(&server, verify).await.unwrap();
        assert_eq!(report.breaks, vec![]);
        report.entries_checked
    };
    assert_eq!(checked(&Layer::Base, false, None).await, 4);
    assert_eq!(checked(&Layer::Base, true, None).await, 4);
    assert_eq!(checked(&Layer::Base, true, Some(1)).await, 3);
    assert_eq!(checked(&ann, true, Some(1)).await, 2);
    assert_eq!(checked(&ann, true, Some(2)).await, 0);
    assert_eq!(checked(&ann, false, None).await, 2);
    assert_eq!(checked(&overlay("bob"), false, None).await, 0);
    let verify = async |call: &mut Call| {
        let access = call.may_verify(Some(book()), Layer::Base)?;
        call.verify_audit_chain(&access, None).await
    };
    assert_eq!(reading(&server, verify).await.unwrap_err().code(), ErrorCode::BookNotFound);
}

#[tokio::test]
async fn r6_a_chain_longer_than_a_page_is_walked_to_its_end() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    for _ in 0..1_100 {
        ended_with(&fixture, &server, Ok(())).await.result.unwrap();
    }
    let verify = async |call: &mut Call| {
        let access = call.may_verify(None, Layer::Base)?;
        call.verify_audit_chain(&access, None).await
    };
    let report = reading(&server, verify).await.unwrap();
    assert_eq!((report.entries_checked, report.breaks), (1_100, vec![]));
}

#[tokio::test]
async fn r6_short_chains_are_read_many_at_once() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    for n in 0..250 {
        fixture.put(&server, &Layer::Base, &lesson(n), "a").await;
        fixture.put(&server, &Layer::Base, &lesson(n), "b").await;
    }
    fixture.faults.reset();
    let verify = async |call: &mut Call| {
        let access = call.may_verify(Some(fixture.book.clone()), Layer::Base)?;
        call.verify_audit_chain(&access, None).await
    };
    let report = reading(&server, verify).await.unwrap();
    assert_eq!((report.chains, report.entries_checked, report.breaks), (250, 500, vec![]));
    assert_eq!(
        fixture.faults.calls(),
        [
            "journal.book",
            "journal.chains",
            "journal.entries_of_chains",
            "journal.chains",
            "journal.orphaned_chains"
        ]
    );
}

#[tokio::test]
async fn a_query_goes_on_where_it_stopped_and_leaves_out_only_what_is_not_to_be_kept() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    for n in 0..25 {
        fixture.put(&server, &Layer::Base, &lesson(n), "a").await;
    }
    let all = entries(&fixture).await;
    let odd = |entry: &panaversity_model::audit::AuditEntry| !entry.path.contains("0-lesson");
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let query = async |call: &mut Call| {
            let access = call.may_audit(None, Layer::Base)?;
            call.query_audit_log(&access, EntryFilter::default(), after, 4, odd).await
        };
        let page = reading(&server, query).await.unwrap();
        assert!(page.entries.len() <= 4);
        pages += 1;
        found.extend(page.entries);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let due: Vec<_> = all.into_iter().filter(odd).collect();
    assert_eq!(due.len(), 22);
    assert_eq!(found, due);
    assert_eq!(pages, 6);
}

#[tokio::test]
async fn a_page_of_long_entries_is_cut_by_its_size_and_leaves_out_none() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let why = "\"quoted\"\n".repeat(100);
    for _ in 0..1_000 {
        let refused = ended_with::<()>(&fixture, &server, Err(conflict(&why).into())).await.result;
        assert_eq!(refused.unwrap_err().code(), ErrorCode::Conflict);
    }
    let (mut found, mut after, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let query = async |call: &mut Call| {
            let access = call.may_audit(None, Layer::Base)?;
            call.query_audit_log(&access, EntryFilter::default(), after, 1_000, |_| true).await
        };
        let page = reading(&server, query).await.unwrap();
        sizes.push(page.entries.len());
        found.extend(page.entries);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // An entry takes about 1,700 bytes.
    assert_eq!(sizes, [468, 468, 64]);
    assert_eq!(found, entries(&fixture).await);
}
