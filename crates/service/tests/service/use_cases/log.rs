//! Recording of calls, queries of the log, verification of chains. Proves R5, R6 and R7 for them.

use panaversity_model::audit::{EntryFilter, Operation, Outcome};
use panaversity_model::{Layer, Refusal};
use panaversity_service::audit::outcome_of;
use panaversity_testkit::samples::{book, lesson, overlay};

use crate::fixture::{AGENT, ServiceFixture, long, want};
use crate::invariants::{chains_are_whole, entries};

#[tokio::test]
async fn r6_every_call_leaves_its_entry_once() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    // The transaction of its change records it.
    let mut call = fixture.call(&server, Operation::Write, Some(&lesson(1)), &Layer::Base);
    let one = vec![want(&lesson(1), Some("a"), None)];
    server.change(&mut call, &fixture.book, &Layer::Base, one.clone()).await.unwrap();
    assert!(call.recorded);
    server.record(&call, Outcome::Success).await.unwrap();
    assert_eq!(entries(&fixture).await.len(), 1);
    // Nothing changed, so `record` writes the entry.
    let mut again = fixture.call(&server, Operation::Write, Some(&lesson(1)), &Layer::Base);
    server.change(&mut again, &fixture.book, &Layer::Base, one).await.unwrap();
    assert!(!again.recorded);
    server.record(&again, Outcome::Success).await.unwrap();
    let refused = fixture.call(&server, Operation::Delete, Some(&lesson(1)), &overlay("ann"));
    let refusal = Refusal::Conflict { why: "another\nline".to_owned(), current: None };
    server.record(&refused, outcome_of(&refusal.into())).await.unwrap();
    let broken = fixture.call(&server, Operation::Read, None, &Layer::Base);
    let fault = panaversity_model::Fault::storage("not for the caller");
    server.record(&broken, outcome_of(&fault.into())).await.unwrap();

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
    assert_eq!(found[0].request_id, call.request.to_string());
    chains_are_whole(&fixture, &server).await;
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
        let (book, path) = (of_book.then_some(&fixture.book), path.map(lesson));
        let path = path.as_ref().map(panaversity_model::BookPath::as_str);
        let report = server.verify_audit_chain(layer, book, path).await.unwrap();
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
    let elsewhere = server.verify_audit_chain(&Layer::Base, Some(&book()), None).await.unwrap();
    assert_eq!(elsewhere.entries_checked, 0);
}

#[tokio::test]
async fn r6_a_chain_longer_than_a_page_is_walked_to_its_end() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let call = fixture.call(&server, Operation::Read, Some(&lesson(1)), &Layer::Base);
    for _ in 0..1_100 {
        server.record(&call, Outcome::Success).await.unwrap();
    }
    let report = server.verify_audit_chain(&Layer::Base, Some(&fixture.book), None).await.unwrap();
    assert_eq!((report.entries_checked, report.breaks), (1_100, vec![]));
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
        let page = server.query_audit_log(&EntryFilter::default(), after, 4, odd).await.unwrap();
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
    let refused = fixture.call(&server, Operation::Read, Some(&lesson(1)), &Layer::Base);
    let why = "\"quoted\"\n".repeat(100);
    for _ in 0..1_000 {
        let refusal = Refusal::Conflict { why: why.clone(), current: None };
        server.record(&refused, outcome_of(&refusal.into())).await.unwrap();
    }
    let (mut found, mut after, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let page = server.query_audit_log(&EntryFilter::default(), after, 1_000, |_| true).await.unwrap();
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
