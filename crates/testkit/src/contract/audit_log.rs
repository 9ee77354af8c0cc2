//! Contract tests of audit log queries: filters, pages, lists of chains.

use panaversity_model::audit::{AuditDraft, AuditEntry, EntryFilter, Operation, Outcome};
use panaversity_model::{ErrorCode, Layer, Timestamp};

use super::Setup;
use super::fixture::{ContractFixture, position};
use crate::samples::{agent, draft, lesson, overlay, path};

/// A book with entries of every kind.
async fn written(setup: &Setup) -> ContractFixture {
    let fixture = ContractFixture::new(setup);
    let (pages, asset) = ([lesson(1), lesson(2)], path("static/img/a.png"));
    for layer in [Layer::Base, overlay("ann")] {
        for path in pages.iter().chain([&asset]) {
            fixture.put(&layer, path, b"a").await;
            let call = draft(Some(&fixture.book), Some(path), &layer);
            let refused = Outcome::Refused { code: ErrorCode::Conflict, message: "late".into() };
            fixture.journal.append(call.clone()).await.unwrap();
            let entry = AuditDraft {
                id: draft(None, None, &layer).id,
                agent: agent("somebody"),
                operation: Operation::Write,
                outcome: refused,
                ..call
            };
            fixture.journal.append(entry).await.unwrap();
        }
        fixture.journal.append(draft(Some(&fixture.book), None, &layer)).await.unwrap();
    }
    fixture
}

type Test = Box<dyn Fn(&AuditEntry) -> bool>;

async fn entries(fixture: &ContractFixture, filter: &EntryFilter) -> Vec<AuditEntry> {
    fixture.journal.entries(filter, None, 1000).await.unwrap()
}

fn of(fixture: &ContractFixture) -> EntryFilter {
    EntryFilter { book: Some(fixture.book.clone()), ..EntryFilter::default() }
}

/// Entries are returned newest first, and the pages together are the whole.
pub async fn pages_of_the_log_join_to_the_whole(setup: &Setup) {
    let fixture = written(setup).await;
    let whole = entries(&fixture, &of(&fixture)).await;
    assert_eq!(whole.len(), 20);
    assert!(whole.is_sorted_by(|a, b| (a.timestamp, &a.id) > (b.timestamp, &b.id)), "newest first");
    for limit in [1, 6] {
        let mut joined: Vec<AuditEntry> = Vec::new();
        loop {
            let after = joined.last().map(position);
            let page = fixture.journal.entries(&of(&fixture), after.as_ref(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            assert!(!joined.contains(&page[0]), "a page goes on");
            joined.extend(page);
        }
        assert_eq!(joined, whole, "limit {limit}");
    }
}

/// The entries of a book and of its layers are counted, and those of all books are not fewer.
pub async fn entries_are_counted_by_their_chains(setup: &Setup) {
    let fixture = written(setup).await;
    let count = async |layer: Option<&Layer>, book| fixture.journal.entry_count(layer, book).await.unwrap();
    assert_eq!(count(None, Some(&fixture.book)).await, 20);
    for layer in [Layer::Base, overlay("ann")] {
        assert_eq!(count(Some(&layer), Some(&fixture.book)).await, 10);
    }
    assert_eq!(count(Some(&overlay("bob")), Some(&fixture.book)).await, 0);
    assert!(count(None, None).await >= 20);
}

/// Every filter returns exactly the entries that match it, alone and combined with others.
pub async fn filters_give_exactly_what_matches(setup: &Setup) {
    let fixture = written(setup).await;
    let whole = entries(&fixture, &of(&fixture)).await;
    let (from, to) = (whole[14].timestamp, whole[5].timestamp);
    let cases: Vec<(&str, EntryFilter, Test)> = vec![
        (
            "base",
            EntryFilter { layer: Some(Layer::Base), ..of(&fixture) },
            Box::new(|e| e.user_id == "__base__"),
        ),
        (
            "overlay",
            EntryFilter { layer: Some(overlay("ann")), ..of(&fixture) },
            Box::new(|e| e.user_id == "ann"),
        ),
        (
            "agent",
            EntryFilter { agent: Some("somebody".into()), ..of(&fixture) },
            Box::new(|e| e.agent_id == "somebody"),
        ),
        (
            "operation",
            EntryFilter { operation: Some("WRITE".into()), ..of(&fixture) },
            Box::new(|e| e.operation == "WRITE"),
        ),
        (
            "status",
            EntryFilter { status: Some("refused".into()), ..of(&fixture) },
            Box::new(|e| e.status == "refused"),
        ),
        (
            "folder",
            EntryFilter {
                path_from: Some("content/".into()),
                path_to: Some("content0".into()),
                ..of(&fixture)
            },
            Box::new(|e| e.path.starts_with("content/")),
        ),
        (
            "path_to is excluded",
            EntryFilter { path_to: Some("static/img/a.png".into()), ..of(&fixture) },
            Box::new(|e| e.path != "static/img/a.png"),
        ),
        (
            "from is included",
            EntryFilter { from: Some(from), ..of(&fixture) },
            Box::new(move |e| e.timestamp >= from),
        ),
        (
            "to is included",
            EntryFilter { to: Some(to), ..of(&fixture) },
            Box::new(move |e| e.timestamp <= to),
        ),
        (
            "joined",
            EntryFilter {
                status: Some("success".into()),
                operation: Some("WRITE".into()),
                layer: Some(Layer::Base),
                ..of(&fixture)
            },
            Box::new(|e| e.status == "success" && e.operation == "WRITE" && e.user_id == "__base__"),
        ),
    ];
    for (name, filter, matches) in cases {
        let due: Vec<_> = whole.iter().filter(|entry| matches(entry)).cloned().collect();
        assert!(!due.is_empty() && due.len() < whole.len(), "{name} tells entries apart");
        assert_eq!(entries(&fixture, &filter).await, due, "{name}");
    }
    let nobody = EntryFilter { agent: Some("some".into()), ..of(&fixture) };
    assert_eq!(entries(&fixture, &nobody).await, vec![]);
}

/// R5: a filter by one layer returns no entry of another.
pub async fn r5_one_layer_s_log_holds_no_other_s(setup: &Setup) {
    let fixture = written(setup).await;
    let stranger = EntryFilter { layer: Some(overlay("ben")), ..of(&fixture) };
    assert_eq!(entries(&fixture, &stranger).await, vec![]);
    let chains = fixture.journal.chains(Some(&overlay("ben")), Some(&fixture.book), None, 100).await.unwrap();
    assert_eq!(chains, vec![]);
}

/// Chains are listed in the order of their keys, page by page, of one layer or of all.
pub async fn chains_are_listed_by_key(setup: &Setup) {
    let fixture = written(setup).await;
    for (layer, due) in [(None, 8), (Some(Layer::Base), 4), (Some(overlay("ann")), 4)] {
        let (mut records, mut after) = (Vec::new(), None);
        loop {
            let page =
                fixture.journal.chains(layer.as_ref(), Some(&fixture.book), after.as_ref(), 3).await.unwrap();
            assert!(page.len() <= 3);
            let Some(last) = page.last() else { break };
            assert!(after.is_none_or(|after| after < last.key), "a page goes on");
            after = Some(last.key.clone());
            records.extend(page);
        }
        assert_eq!(records.len(), due);
        assert!(records.is_sorted_by(|a, b| a.key < b.key), "each once, bytewise");
        for record in records {
            assert!(layer.as_ref().is_none_or(|layer| layer.as_str() == record.key.user));
            assert_eq!(fixture.journal.chain(&record.key).await.unwrap(), Some(record));
        }
    }
}

/// Chains with entries at or after a given time are found by it; no entry lacks its chain.
pub async fn chains_are_found_by_their_latest_entry(setup: &Setup) {
    let fixture = written(setup).await;
    let first = fixture.file_chain(&lesson(1), &Layer::Base).await.last().unwrap().timestamp;
    let later = draft(Some(&fixture.book), Some(&lesson(1)), &overlay("ann"));
    fixture.journal.append(later.clone()).await.unwrap();
    let last = fixture.chain(&later.chain()).await.last().unwrap().timestamp;
    let since = async |moment: Timestamp| {
        let mut keys = fixture.journal.chains_since(moment, 100_000).await.unwrap();
        keys.retain(|key| key.book == fixture.book.as_str());
        keys.sort();
        keys
    };
    // A clock may give several chains the same moment, and then the entries of one chain later ones.
    let (mut at_last, mut latest) = (Vec::new(), last);
    for key in fixture.chains().await {
        let ended = fixture.chain(&key).await.last().unwrap().timestamp;
        latest = latest.max(ended);
        if ended >= last {
            at_last.push(key);
        }
    }
    assert!(at_last.contains(&later.chain()));
    assert_eq!(since(last).await, at_last, "the moment itself counts");
    assert_eq!(since(Timestamp::from_micros(latest.micros() + 1)).await, vec![]);
    assert_eq!(since(first).await, fixture.chains().await, "the first chain's last entry starts it all");
    let orphaned = fixture.journal.orphaned_chains(None, Some(&fixture.book), 1000).await.unwrap();
    assert_eq!(orphaned, vec![]);
}

/// The entries of several chains are those of each, one chain after the other; too many are cut off.
pub async fn the_entries_of_several_chains_are_those_of_each(setup: &Setup) {
    let fixture = written(setup).await;
    let keys = fixture.chains().await;
    let mut each = Vec::new();
    for key in &keys[1..] {
        each.extend(fixture.chain(key).await);
    }
    let unknown = fixture.chain_key(Some(&lesson(9)), &Layer::Base);
    let asked: Vec<_> = keys[1..].iter().chain([&unknown]).rev().collect();
    let found = fixture.journal.entries_of_chains(&asked, 100).await.unwrap();
    assert_eq!(found, each);
    assert_eq!(
        fixture.journal.entries_of_chains(&asked, each.len() - 1).await.unwrap().len(),
        each.len() - 1
    );
    assert_eq!(fixture.journal.entries_of_chains(&[&unknown], 100).await.unwrap(), []);
}
