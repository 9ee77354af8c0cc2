//! Querying the audit log: filters, pages, lists of chains.

use panaversity_model::audit::{AuditDraft, AuditEntry, EntryFilter, Operation, Outcome};
use panaversity_model::{Layer, Timestamp};

use super::Setup;
use super::desk::{Desk, position};
use crate::samples::{agent, draft, lesson, overlay, path};

/// A book with entries of every kind.
async fn written(setup: &Setup) -> Desk {
    let desk = Desk::new(setup);
    let (pages, asset) = ([lesson(1), lesson(2)], path("static/img/a.png"));
    for layer in [Layer::Base, overlay("ann")] {
        for path in pages.iter().chain([&asset]) {
            desk.put(&layer, path, b"a").await;
            let call = draft(Some(&desk.book), Some(path), &layer);
            let refused = Outcome::Refused { code: "CONFLICT", message: "late".into() };
            desk.journal.append(call.clone()).await.unwrap();
            let entry = AuditDraft {
                id: draft(None, None, &layer).id,
                agent: agent("somebody"),
                operation: Operation::Write,
                outcome: refused,
                ..call
            };
            desk.journal.append(entry).await.unwrap();
        }
        desk.journal.append(draft(Some(&desk.book), None, &layer)).await.unwrap();
    }
    desk
}

type Test = Box<dyn Fn(&AuditEntry) -> bool>;

async fn entries(desk: &Desk, filter: &EntryFilter) -> Vec<AuditEntry> {
    desk.journal.entries(filter, None, 1000).await.unwrap()
}

fn of(desk: &Desk) -> EntryFilter {
    EntryFilter { book: Some(desk.book.clone()), ..EntryFilter::default() }
}

/// Entries come newest first, and pages join to the whole.
pub async fn pages_of_the_log_join_to_the_whole(setup: &Setup) {
    let desk = written(setup).await;
    let whole = entries(&desk, &of(&desk)).await;
    assert_eq!(whole.len(), 20);
    assert!(whole.is_sorted_by(|a, b| (a.timestamp, &a.id) > (b.timestamp, &b.id)), "newest first");
    for limit in [1, 6] {
        let mut joined: Vec<AuditEntry> = Vec::new();
        loop {
            let after = joined.last().map(position);
            let page = desk.journal.entries(&of(&desk), after.as_ref(), limit).await.unwrap();
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

/// Every filter gives exactly the entries that match it, alone and joined with others.
pub async fn filters_give_exactly_what_matches(setup: &Setup) {
    let desk = written(setup).await;
    let whole = entries(&desk, &of(&desk)).await;
    let (from, to) = (whole[14].timestamp, whole[5].timestamp);
    let cases: Vec<(&str, EntryFilter, Test)> = vec![
        (
            "base",
            EntryFilter { layer: Some(Layer::Base), ..of(&desk) },
            Box::new(|e| e.user_id == "__base__"),
        ),
        (
            "overlay",
            EntryFilter { layer: Some(overlay("ann")), ..of(&desk) },
            Box::new(|e| e.user_id == "ann"),
        ),
        (
            "agent",
            EntryFilter { agent: Some("somebody".into()), ..of(&desk) },
            Box::new(|e| e.agent_id == "somebody"),
        ),
        (
            "operation",
            EntryFilter { operation: Some("WRITE".into()), ..of(&desk) },
            Box::new(|e| e.operation == "WRITE"),
        ),
        (
            "status",
            EntryFilter { status: Some("refused".into()), ..of(&desk) },
            Box::new(|e| e.status == "refused"),
        ),
        (
            "folder",
            EntryFilter { path_from: Some("content/".into()), path_to: Some("content0".into()), ..of(&desk) },
            Box::new(|e| e.path.starts_with("content/")),
        ),
        (
            "path_to is excluded",
            EntryFilter { path_to: Some("static/img/a.png".into()), ..of(&desk) },
            Box::new(|e| e.path != "static/img/a.png"),
        ),
        (
            "from is included",
            EntryFilter { from: Some(from), ..of(&desk) },
            Box::new(move |e| e.timestamp >= from),
        ),
        ("to is included", EntryFilter { to: Some(to), ..of(&desk) }, Box::new(move |e| e.timestamp <= to)),
        (
            "joined",
            EntryFilter {
                status: Some("success".into()),
                operation: Some("WRITE".into()),
                layer: Some(Layer::Base),
                ..of(&desk)
            },
            Box::new(|e| e.status == "success" && e.operation == "WRITE" && e.user_id == "__base__"),
        ),
    ];
    for (name, filter, matches) in cases {
        let due: Vec<_> = whole.iter().filter(|entry| matches(entry)).cloned().collect();
        assert!(!due.is_empty() && due.len() < whole.len(), "{name} tells entries apart");
        assert_eq!(entries(&desk, &filter).await, due, "{name}");
    }
    let nobody = EntryFilter { agent: Some("some".into()), ..of(&desk) };
    assert_eq!(entries(&desk, &nobody).await, vec![]);
}

/// R5: a filter by one layer gives no entry of another.
pub async fn r5_one_layer_s_log_holds_no_other_s(setup: &Setup) {
    let desk = written(setup).await;
    let stranger = EntryFilter { layer: Some(overlay("ben")), ..of(&desk) };
    assert_eq!(entries(&desk, &stranger).await, vec![]);
    let chains = desk.journal.chains(Some(&overlay("ben")), Some(&desk.book), None, 100).await.unwrap();
    assert_eq!(chains, vec![]);
}

/// Chains are listed in the order of their keys, page by page, of one layer or of all.
pub async fn chains_are_listed_by_key(setup: &Setup) {
    let desk = written(setup).await;
    for (layer, due) in [(None, 8), (Some(Layer::Base), 4), (Some(overlay("ann")), 4)] {
        let (mut records, mut after) = (Vec::new(), None);
        loop {
            let page =
                desk.journal.chains(layer.as_ref(), Some(&desk.book), after.as_ref(), 3).await.unwrap();
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
            assert_eq!(desk.journal.chain(&record.key).await.unwrap(), Some(record));
        }
    }
}

/// Chains that got entries at or after a moment are found by it; no entry lacks its chain.
pub async fn chains_are_found_by_their_latest_entry(setup: &Setup) {
    let desk = written(setup).await;
    let first = desk.file_chain(&lesson(1), &Layer::Base).await.last().unwrap().timestamp;
    let later = draft(Some(&desk.book), Some(&lesson(1)), &overlay("ann"));
    desk.journal.append(later.clone()).await.unwrap();
    let last = desk.chain(&later.chain()).await.last().unwrap().timestamp;
    let since = async |moment: Timestamp| {
        let mut keys = desk.journal.chains_since(moment, 100_000).await.unwrap();
        keys.retain(|key| key.book == desk.book.as_str());
        keys.sort();
        keys
    };
    assert_eq!(since(last).await, vec![later.chain()], "the moment itself counts");
    assert_eq!(since(Timestamp::from_micros(last.micros() + 1)).await, vec![]);
    assert_eq!(since(first).await, desk.chains().await, "the first chain's last entry starts it all");
    let orphaned = desk.journal.orphaned_chains(None, Some(&desk.book), 1000).await.unwrap();
    assert_eq!(orphaned, vec![]);
}
