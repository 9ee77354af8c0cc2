//! Contract tests of chains and entries. R6 and R7: chains link, their times strictly increase,
//! changes follow each other, and every entry names its agent.

use panaversity_model::audit::{AuditDraft, Outcome};
use panaversity_model::{ContentHash, ErrorCode, Layer};

use super::Setup;
use super::fixture::{ContractFixture, run_concurrently};
use crate::samples::{agent, delete, draft, lesson, overlay, write};

/// R6: after many concurrent changes and calls every chain of the book links, and its times
/// strictly increase.
pub async fn r6_every_chain_links_after_a_random_load(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let layers = [Layer::Base, overlay("ann"), overlay("ben")];
    run_concurrently(12, |task| {
        let (fixture, layers) = (fixture.clone(), layers.clone());
        async move {
            for step in 0..8 {
                let layer = &layers[(task + step) % 3];
                let (first, second) = (lesson((task * 5 + step) % 4), lesson(4 + step % 2));
                let now = fixture.holds(layer, &first).await;
                let one = if step % 4 == 3 {
                    delete(&first, None)
                } else {
                    write(&first, format!("{task}.{step}").as_bytes(), now)
                };
                let other = write(&second, format!("{task}.{step}").as_bytes(), None);
                let changes = if step % 3 == 0 { vec![other, one] } else { vec![one] };
                fixture.try_commit(layer, changes).await.unwrap();
                fixture.journal.append(draft(Some(&fixture.book), Some(&first), layer)).await.unwrap();
                fixture.journal.append(draft(Some(&fixture.book), None, layer)).await.unwrap();
            }
        }
    })
    .await;
    assert!(fixture.chains().await.len() > 10);
    for key in fixture.chains().await {
        let entries = fixture.chain(&key).await;
        assert!(!entries.is_empty());
        assert!(entries.is_sorted_by(|a, b| a.timestamp < b.timestamp), "{key:?}");
        assert!(entries.iter().all(|entry| entry.chain() == key));
    }
    assert_eq!(fixture.breaks().await, vec![]);
}

/// R6: an entry is stored as it was sealed, every column of it.
pub async fn r6_an_entry_is_stored_as_it_was_sealed(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let refused =
        Outcome::Refused { code: ErrorCode::Conflict, message: "Changed \u{7} since\nyou 'read' it".into() };
    let mut tip = None;
    for (n, outcome) in
        [Outcome::Success, refused, Outcome::Failed { code: ErrorCode::Timeout }].into_iter().enumerate()
    {
        let asked = AuditDraft {
            outcome,
            agent: agent("Zoë's agent; --"),
            elapsed_ms: 1 << 40,
            ..draft(Some(&fixture.book), Some(&lesson(1)), &overlay("ann"))
        };
        fixture.journal.append(asked.clone()).await.unwrap();
        let entries = fixture.file_chain(&lesson(1), &overlay("ann")).await;
        assert_eq!(entries.len(), n + 1);
        let entry = entries.last().unwrap();
        assert_eq!(*entry, asked.seal(entry.timestamp, tip.as_deref()));
        tip = Some(entry.entry_hash.clone());
        let chain = fixture.journal.chain(&asked.chain()).await.unwrap().unwrap();
        assert_eq!((chain.key, chain.tip, chain.journal), (asked.chain(), tip.clone(), None));
        assert_eq!(usize::try_from(chain.count).unwrap(), n + 1);
    }
}

/// R6: the entries of a file record its content from change to change.
pub async fn r6_each_change_starts_from_what_the_last_one_left(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (a, b) = (ContentHash::of(b"a").to_string(), ContentHash::of(b"b").to_string());
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    fixture.put(&Layer::Base, &lesson(1), b"b").await;
    fixture.journal.append(draft(Some(&fixture.book), Some(&lesson(1)), &Layer::Base)).await.unwrap();
    fixture.delete(&Layer::Base, &lesson(1)).await;
    fixture.delete(&Layer::Base, &lesson(1)).await;
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    let entries = fixture.file_chain(&lesson(1), &Layer::Base).await;
    let lineage: Vec<_> =
        entries.iter().map(|e| (e.old_content_hash.as_deref(), e.new_content_hash.as_deref())).collect();
    let (a, b) = (Some(a.as_str()), Some(b.as_str()));
    assert_eq!(
        lineage,
        vec![(None, a), (None, None), (a, b), (None, None), (b, None), (None, None), (None, a)]
    );
    let record =
        fixture.journal.chain(&fixture.chain_key(Some(&lesson(1)), &Layer::Base)).await.unwrap().unwrap();
    assert_eq!(record.journal.as_deref(), a, "the chain is compared with what the file holds");
    assert_eq!(record.tip.as_ref(), entries.last().map(|entry| &entry.entry_hash));
    assert_eq!(fixture.breaks().await, vec![]);
}

/// R6: calls about a path, a book and no book are recorded in different chains, which exist from
/// then on.
pub async fn r6_calls_chain_under_what_they_are_about(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let calls = [
        draft(None, None, &Layer::Base),
        draft(Some(&fixture.book), None, &Layer::Base),
        draft(Some(&fixture.book), None, &overlay("ann")),
        draft(Some(&fixture.book), Some(&lesson(1)), &Layer::Base),
        draft(Some(&fixture.book), Some(&lesson(1)), &overlay("ann")),
    ];
    for (n, call) in calls.iter().enumerate() {
        let before = fixture.journal.chain(&call.chain()).await.unwrap();
        assert!(n == 0 || before.is_none(), "the chains of a fresh book are untouched");
        fixture.journal.append(call.clone()).await.unwrap();
        let record = fixture.journal.chain(&call.chain()).await.unwrap().unwrap();
        assert!(record.count > before.map_or(0, |before| before.count));
        let newest =
            fixture.chain(&call.chain()).await.into_iter().rfind(|entry| entry.id == call.id.to_string());
        assert_eq!(newest.map(|entry| entry.chain()), Some(call.chain()));
    }
    assert_eq!(fixture.chains().await.len(), 4);
    assert_eq!(fixture.journal.book(&fixture.book).await.unwrap(), None, "an entry makes no book");
    assert_eq!(fixture.breaks().await, vec![]);
}

/// R6: an entry cannot be written twice; the chain stays as it was.
pub async fn r6_an_entry_s_id_is_used_once(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let call = draft(Some(&fixture.book), Some(&lesson(1)), &Layer::Base);
    fixture.journal.append(call.clone()).await.unwrap();
    assert!(fixture.journal.append(call.clone()).await.is_err());
    let mut change = write(&lesson(1), b"a", None);
    change.content.entry = call.id;
    assert!(fixture.try_commit(&Layer::Base, vec![change]).await.is_err());
    assert_eq!(fixture.holds(&Layer::Base, &lesson(1)).await, None);
    assert_eq!(fixture.file_chain(&lesson(1), &Layer::Base).await.len(), 1);
    assert_eq!(fixture.breaks().await, vec![]);
}

/// R7: an entry names the agent that acted, for changes and calls alike.
pub async fn r7_every_entry_names_its_agent(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    let call =
        AuditDraft { agent: agent("somebody"), ..draft(Some(&fixture.book), Some(&lesson(1)), &Layer::Base) };
    fixture.journal.append(call).await.unwrap();
    let entries = fixture.file_chain(&lesson(1), &Layer::Base).await;
    let agents: Vec<_> = entries.iter().map(|entry| entry.agent_id.as_str()).collect();
    assert_eq!(agents, ["tester", "somebody"]);
}
