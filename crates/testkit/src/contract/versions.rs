//! Contract tests of the versions of a file, and of changes that were made from the content of the base.

use panaversity_model::change::{ChangeMessage, Verdict};
use panaversity_model::{ContentHash, ErrorCode, Layer};

use super::Setup;
use super::fixture::ContractFixture;
use crate::samples::{change_set, key, lesson, overlay, write};

/// The versions of a layer are listed newest first, deletions included, from any of them on.
pub async fn versions_of_a_layer_are_listed_newest_first(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (path, eve) = (lesson(1), overlay("eve"));
    for text in [b"a", b"b", b"c"] {
        fixture.put(&Layer::Base, &path, text).await;
    }
    fixture.put(&eve, &path, b"mine").await;
    fixture.put(&Layer::Base, &lesson(2), b"other").await;
    fixture.delete(&Layer::Base, &path).await;
    let of = key(&fixture.book, &path, &Layer::Base);
    let all = fixture.journal.versions(&of, None, 10).await.unwrap();
    let hashes: Vec<_> = all.iter().map(|version| version.hash).collect();
    let text = |text: &[u8]| Some(ContentHash::of(text));
    assert_eq!(hashes, [None, text(b"c"), text(b"b"), text(b"a")]);
    assert!(all.is_sorted_by(|newer, older| newer.version > older.version && newer.at > older.at));
    let seen: Vec<_> = all.iter().map(|version| (version.operation.as_str(), version.size)).collect();
    assert_eq!(seen, [("DELETE", 0), ("WRITE", 1), ("WRITE", 1), ("WRITE", 1)]);
    assert!(all.iter().all(|version| version.path == path && version.agent.as_str() == "tester"));
    let older = fixture.journal.versions(&of, Some(all[1].version), 1).await.unwrap();
    assert_eq!(older, all[2..3]);
    assert_eq!(fixture.journal.versions(&of, Some(all[3].version), 5).await.unwrap(), []);
    let own = fixture.journal.versions(&key(&fixture.book, &path, &eve), None, 10).await.unwrap();
    assert_eq!(own.len(), 1);
}

/// A version keeps the message of its set and the path it was moved from, and its entry has the message and
/// the parents of a merge.
pub async fn r6_a_version_and_its_entry_keep_the_reason_of_a_change(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    let (a, b) = (ContentHash::of(b"a"), ContentHash::of(b"b"));
    let mut change = write(&lesson(2), b"a", None);
    change.moved_from = Some(lesson(1));
    let mut merged = write(&lesson(1), b"c", Some(a));
    merged.parents = Some([b, a]);
    let mut set = change_set(&fixture.book, &Layer::Base, vec![change, merged]);
    set.message = Some(ChangeMessage::parse("Sort the lessons").unwrap());
    assert!(matches!(fixture.journal.commit(set.clone()).await.unwrap(), Verdict::Committed(_)));
    let of = |n: usize| key(&fixture.book, &lesson(n), &Layer::Base);
    let version = fixture.journal.versions(&of(2), None, 1).await.unwrap().remove(0);
    assert_eq!((version.moved_from, version.change), (Some(lesson(1)), set.id));
    assert_eq!(version.message.as_deref(), Some("Sort the lessons"));
    let note = |entry: &panaversity_model::audit::AuditEntry| entry.error_message.clone().unwrap_or_default();
    assert_eq!(note(&fixture.file_chain(&lesson(2), &Layer::Base).await[0]), "Sort the lessons");
    let entries = fixture.file_chain(&lesson(1), &Layer::Base).await;
    assert_eq!(note(&entries[1]), format!("merged {b} and {a}: Sort the lessons"));
    assert_eq!(note(&entries[0]), "");
    assert_eq!(fixture.breaks().await, vec![]);
}

/// I8: a change of an overlay that was made from a content of the base is refused once the base has another.
pub async fn i8_a_change_made_from_the_base_is_refused_after_the_base_has_changed(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (path, eve) = (lesson(1), overlay("eve"));
    fixture.put(&Layer::Base, &path, b"a").await;
    let made_from = |text: &[u8]| {
        let mut change = write(&path, b"a and mine", None);
        change.base = Some(ContentHash::of(text));
        change
    };
    let (index, refusal) = fixture.refused(&eve, vec![made_from(b"b")]).await;
    assert_eq!((index, refusal.code()), (0, ErrorCode::Conflict));
    fixture.put(&Layer::Base, &path, b"b").await;
    fixture.refused(&eve, vec![made_from(b"a")]).await;
    assert_eq!(fixture.holds(&eve, &path).await, None);
    fixture.commit_one(&eve, made_from(b"b")).await;
    fixture.delete(&Layer::Base, &path).await;
    fixture.refused(&overlay("bob"), vec![made_from(b"b")]).await;
    assert_eq!(fixture.breaks().await, vec![]);
}

/// Files to be replaced are looked up together, in the order of their keys.
pub async fn many_files_are_looked_up_at_once_in_order(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let writes = (0..100).step_by(2).map(|n| write(&lesson(n), format!("{n}").as_bytes(), None)).collect();
    fixture.commit(&Layer::Base, writes).await;
    let keys: Vec<_> = (0..100).rev().map(|n| key(&fixture.book, &lesson(n), &Layer::Base)).collect();
    let found = fixture.journal.current_metadata(&keys).await.unwrap();
    for (n, found) in (0..100).rev().zip(found) {
        let expected = (n % 2 == 0).then(|| ContentHash::of(format!("{n}").as_bytes()));
        assert_eq!(found.map(|found| found.record.hash), expected, "{n}");
    }
    assert_eq!(fixture.journal.current_metadata(&[]).await.unwrap(), []);
}
