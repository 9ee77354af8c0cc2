//! Invariants that hold whenever the publisher is idle: R2 (reads and tree match the journal), R6 (every
//! chain verifies) and R7 (every entry has a real agent).

use std::collections::BTreeMap;

use panaversity_model::audit::{AuditEntry, EntryFilter};
use panaversity_model::path::Folder;
use panaversity_model::ports::{AuditLog, Books, Files as _};
use panaversity_model::{ContentHash, Layer};
use panaversity_service::{Call, Service};
use panaversity_testkit::memory::location;
use panaversity_testkit::samples::{key, view};

use crate::fixture::{AGENT, Files, ServiceFixture, layers, reading};

/// Asserts R2, R6 and R7; returns the content of every file, as the server reads it.
pub(crate) async fn hold(fixture: &ServiceFixture, server: &Service) -> Files {
    let files = readable(fixture, server).await;
    assert_eq!(fixture.tree.files(), published(fixture, &files), "R2: the tree holds what the journal says");
    chains_are_whole(fixture, server).await;
    files
}

/// R2: every file in the journal reads back byte for byte.
pub(crate) async fn readable(fixture: &ServiceFixture, server: &Service) -> Files {
    let mut files = Files::new();
    for layer in layers() {
        let everything = Folder::everything();
        let records =
            fixture.journal.list(&fixture.book, &everything, &view(&layer), None, 10_000).await.unwrap();
        for record in records.into_iter().filter(|record| record.layer == layer) {
            let bytes = fixture.read(server, &layer, &record.path).await.unwrap();
            let bytes = bytes.expect("R2: what the journal shows can be read");
            assert_eq!(ContentHash::of(&bytes), record.hash, "R2: {layer} {}", record.path);
            assert_eq!(bytes.len() as u64, record.size);
            files.insert((layer.clone(), record.path), bytes);
        }
    }
    let rows: i64 = fixture.journal.journal_counts().await.unwrap().iter().map(|(_, count)| count).sum();
    assert_eq!(usize::try_from(rows).unwrap(), files.len(), "the journal has no other rows");
    files
}

/// Expected content of the tree for these files.
pub(crate) fn published(fixture: &ServiceFixture, files: &Files) -> BTreeMap<String, Vec<u8>> {
    let place = |layer: &Layer, path| location(&key(&fixture.book, path, layer));
    files.iter().map(|((layer, path), bytes)| (place(layer, path), bytes.clone())).collect()
}

/// R6: every chain of every layer verifies without a break; R7: every entry names the agent.
pub(crate) async fn chains_are_whole(fixture: &ServiceFixture, server: &Service) {
    let mut checked = 0;
    for layer in layers() {
        let verify = async |call: &mut Call| {
            let access = call.may_verify(None, layer.clone())?;
            call.verify_audit_chain(&access, None).await
        };
        let report = reading(server, verify).await.unwrap();
        assert_eq!(report.breaks, vec![], "R6: the chains of {layer}");
        checked += report.entries_checked;
    }
    let entries = entries(fixture).await;
    assert_eq!(usize::try_from(checked).unwrap(), entries.len(), "R6: every entry is in a chain");
    assert!(entries.iter().all(|entry| entry.agent_id == AGENT), "R7: every entry has its agent");
}

/// All audit entries, newest first.
pub(crate) async fn entries(fixture: &ServiceFixture) -> Vec<AuditEntry> {
    fixture.journal.entries(&EntryFilter::default(), None, 100_000).await.unwrap()
}

/// Number of changes of files, by the log.
pub(crate) async fn changes_recorded(fixture: &ServiceFixture) -> usize {
    let changed = |entry: &&AuditEntry| entry.old_content_hash != entry.new_content_hash;
    entries(fixture).await.iter().filter(changed).count()
}
