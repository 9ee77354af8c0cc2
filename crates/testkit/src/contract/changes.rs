//! Contract tests of single changes: the agent contract for writes, row by row, and the records
//! that a commit leaves.

use std::time::Duration;

use panaversity_model::blob::Blob;
use panaversity_model::blob::BlobState;
use panaversity_model::change::Verdict;
use panaversity_model::precondition::{Effect, decide};
use panaversity_model::{BookPath, ContentHash, ErrorCode, Layer, View};

use super::Setup;
use super::fixture::{ContractFixture, unpack};
use crate::samples::{change, change_set, delete, inline, lesson, object, overlay, staging, view, write};

/// I8, R3: every row of the precondition table, in the base and in an overlay.
pub async fn i8_every_row_of_the_precondition_table_holds(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (a, b, c) = (b"a".as_slice(), b"b".as_slice(), ContentHash::of(b"c"));
    let mut number = 0;
    for layer in [Layer::Base, overlay("reader")] {
        for now in [None, Some(a)] {
            for blob in [Some(inline(a)), Some(inline(b)), None] {
                for expected in [None, Some(ContentHash::of(a)), Some(c)] {
                    number += 1;
                    let path = lesson(number);
                    if let Some(bytes) = now {
                        fixture.put(&layer, &path, bytes).await;
                    }
                    the_table_holds(&fixture, &layer, &path, blob.clone(), expected).await;
                }
            }
        }
    }
}

async fn the_table_holds(
    fixture: &ContractFixture,
    layer: &Layer,
    path: &BookPath,
    blob: Option<Blob>,
    expected: Option<ContentHash>,
) {
    let before = fixture.holds(layer, path).await;
    let change = change(path, blob, expected);
    let target = change.target();
    let row = format!("{layer}: {before:?}, {target:?}, {expected:?}");
    let verdict = fixture.try_commit(layer, vec![change]).await.unwrap();
    let after = fixture.holds(layer, path).await;
    match (verdict, decide(before, target, expected)) {
        (Verdict::Committed(applied), Ok(effect)) => {
            assert_eq!((applied[0].effect, applied[0].hash), (effect, after), "{row}");
            assert_eq!(after.as_ref(), target.present(), "{row}");
        }
        (Verdict::Refused(index, refusal), Err(due)) => {
            assert_eq!((index, refusal, after), (0, due, before), "{row}");
        }
        (verdict, due) => panic!("{row}: {verdict:?} instead of {due:?}"),
    }
}

/// R2: written content is found byte for byte, with its size, layer and time.
pub async fn r2_what_was_written_is_found_byte_for_byte(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let bytes: Vec<u8> = (0..20_000u32).flat_map(u32::to_le_bytes).collect();
    let texts: [&[u8]; 4] = [b"", b"# Title\r\n", "Grüße \u{0} 你好".as_bytes(), &bytes];
    for (number, text) in texts.into_iter().enumerate() {
        let before = fixture.journal.now().await.unwrap();
        fixture.put(&Layer::Base, &lesson(number), text).await;
        let found = fixture.find(&View::base(), &lesson(number)).await.unwrap();
        assert_eq!(unpack(&found), text);
        assert_eq!(found.blob.blob, inline(text), "the blob is stored as it was given");
        assert_eq!(found.blob.state, BlobState::Live);
        let record = found.record;
        assert_eq!((record.path, record.layer), (lesson(number), Layer::Base));
        assert_eq!((record.hash, record.size), (ContentHash::of(text), text.len() as u64));
        assert!(record.written_at >= before && record.written_at <= fixture.journal.now().await.unwrap());
        assert!(!record.storage.is_empty());
    }
}

/// R3: deleting is idempotent.
pub async fn r3_deleting_what_is_not_there_succeeds(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    let first = fixture.delete(&Layer::Base, &lesson(1)).await;
    assert_eq!((first.effect, first.hash), (Effect::Deleted, None));
    let second = fixture.commit_one(&Layer::Base, delete(&lesson(1), Some(ContentHash::of(b"a")))).await;
    assert_eq!((second.effect, second.publication), (Effect::Unchanged, None));
    assert_eq!(fixture.find(&View::base(), &lesson(1)).await, None);
}

/// Repeating a write is recorded, but changes neither the file nor its version.
pub async fn writing_the_same_bytes_again_changes_nothing(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    let before = fixture.find(&View::base(), &lesson(1)).await.unwrap();
    let again = fixture.commit_one(&Layer::Base, write(&lesson(1), b"a", None)).await;
    assert_eq!((again.effect, again.hash), (Effect::Unchanged, Some(ContentHash::of(b"a"))));
    assert_eq!(again.publication, None, "there is nothing to publish");
    assert_eq!(fixture.find(&View::base(), &lesson(1)).await.unwrap(), before);
    let entries = fixture.file_chain(&lesson(1), &Layer::Base).await;
    let entry = entries.last().unwrap();
    assert_eq!((entries.len(), entry.status.as_str()), (2, "success"));
    assert_eq!((&entry.old_content_hash, &entry.new_content_hash), (&None, &None));
    assert!(entry.change_id.is_none() && !entry.is_change());
}

/// A change recreates a deleted file, with a version above all before it.
pub async fn versions_only_grow(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let mut last = 0;
    for round in 0..3u8 {
        for (path, layer) in [(lesson(1), Layer::Base), (lesson(2), Layer::Base), (lesson(1), overlay("u"))] {
            let publication = fixture.put(&layer, &path, &[round]).await.publication.map(|p| p.version);
            let found = fixture.find(&view(&layer), &path).await.unwrap().record;
            assert!(found.version > last, "{} after {last}", found.version);
            assert!(publication.is_none_or(|version| version == found.version));
            last = found.version;
        }
        fixture.delete(&Layer::Base, &lesson(2)).await;
    }
}

/// I9: a set that names an object whose row is not live is a fault and leaves nothing.
pub async fn i9_an_object_must_be_staged_before_it_is_committed(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let blob = object(fixture.book.as_str().as_bytes());
    let ask = async |staging| {
        let mut change = change(&lesson(1), Some(blob.clone()), None);
        change.content.staging = staging;
        fixture.try_commit(&Layer::Base, vec![change]).await.unwrap()
    };
    assert_eq!(ask(None).await, Verdict::Unstaged);
    assert_eq!(ask(Some(staging())).await, Verdict::Unstaged);
    fixture.assert_untouched().await;
    for health in [BlobState::Missing, BlobState::Corrupt] {
        let ours = fixture.stage(&blob).await;
        fixture.journal.mark(blob.hash, health).await.unwrap();
        assert_eq!(ask(Some(ours)).await, Verdict::Unstaged, "{health:?}");
        fixture.assert_untouched().await;
    }
    let theirs = fixture.stage(&blob).await;
    assert_eq!(ask(None).await, Verdict::Unstaged, "somebody else staged it");
    assert_eq!(ask(Some(staging())).await, Verdict::Unstaged);
    assert!(matches!(ask(Some(theirs)).await, Verdict::Committed(_)));
    let found = fixture.find(&View::base(), &lesson(1)).await.unwrap();
    assert_eq!(found.blob.blob, blob);
}

/// I9: a refused change leaves nothing, not even the book.
pub async fn i9_a_refused_change_leaves_nothing(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let late = write(&lesson(1), b"b", Some(ContentHash::of(b"a")));
    let (index, refusal) = fixture.refused(&Layer::Base, vec![late]).await;
    assert_eq!((index, refusal.code()), (0, ErrorCode::NotFound));
    fixture.assert_untouched().await;
}

/// A commit, once started, completes although its caller is dropped.
pub async fn a_commit_runs_to_its_end_without_its_caller(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let set = change_set(&fixture.book, &Layer::Base, vec![write(&lesson(1), b"a", None)]);
    // The future is polled once and then dropped.
    let _ = tokio::time::timeout(Duration::ZERO, fixture.journal.commit(set)).await;
    for _ in 0..500 {
        if fixture.find(&View::base(), &lesson(1)).await.is_some() {
            assert_eq!(fixture.breaks().await, vec![]);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the commit was never finished");
}
