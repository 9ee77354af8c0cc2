//! Contract tests of blob rows: the database's records of blobs.

use panaversity_model::blob::BlobState;
use panaversity_model::{ContentHash, Layer, View};

use super::Setup;
use super::fixture::ContractFixture;
use crate::samples::{inline, lesson, object, write, write_staged};

async fn health(fixture: &ContractFixture, hash: ContentHash) -> Option<BlobState> {
    let found = fixture.journal.blobs(&[hash]).await.unwrap();
    assert!(found.len() <= 1);
    found.first().map(|stored| stored.state)
}

/// Of the requested blobs the known ones are returned, each as it was stored.
pub async fn known_blobs_are_found_and_unknown_ones_left_out(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let text = |n: u8| format!("{} {n}", fixture.book).into_bytes();
    let staged = object(&text(1));
    fixture.stage(&staged).await;
    fixture.put(&Layer::Base, &lesson(1), &text(2)).await;
    let asked = [ContentHash::of(&text(3)), staged.hash, ContentHash::of(&text(2))];
    let mut found = fixture.journal.blobs(&asked).await.unwrap();
    found.sort_by_key(|stored| stored.blob.hash);
    let mut due = [staged, inline(&text(2))];
    due.sort_by_key(|blob| blob.hash);
    assert_eq!(found.iter().map(|stored| stored.blob.clone()).collect::<Vec<_>>(), due);
    assert!(found.iter().all(|stored| stored.state == BlobState::Live));
    assert_eq!(fixture.journal.blobs(&[]).await.unwrap(), vec![]);
}

/// Staging the bytes of a live inline blob as an object keeps them readable: the object is not put yet.
pub async fn staging_an_object_keeps_the_bytes_that_are_inline(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let text = fixture.book.as_str().as_bytes();
    fixture.put(&Layer::Base, &lesson(1), text).await;
    fixture.stage(&object(text)).await;
    assert_eq!(fixture.read(&View::base(), &lesson(1)).await.as_deref(), Some(text));
}

/// A condemned blob stays condemned, whatever a reader says of it.
pub async fn a_mark_leaves_a_condemned_blob_condemned(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let hash = ContentHash::of(fixture.book.as_str().as_bytes());
    fixture.journal.condemn_unknown(hash, 9).await.unwrap().unwrap();
    for mark in [BlobState::Live, BlobState::Missing] {
        fixture.journal.mark(hash, mark).await.unwrap();
        assert_eq!(health(&fixture, hash).await, Some(BlobState::Condemned));
    }
}

/// A blob has the state it was last marked with; staging it makes it live again.
pub async fn a_staged_blob_is_live_whatever_it_was(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let blob = object(fixture.book.as_str().as_bytes());
    fixture.journal.mark(blob.hash, BlobState::Missing).await.unwrap();
    assert_eq!(health(&fixture, blob.hash).await, None, "marking makes no row");
    let first = fixture.stage(&blob).await;
    for mark in [BlobState::Missing, BlobState::Corrupt, BlobState::Live] {
        assert_eq!(fixture.stage(&blob).await, first, "its staging stays while its row lives");
        assert_eq!(health(&fixture, blob.hash).await, Some(BlobState::Live));
        fixture.journal.mark(blob.hash, mark).await.unwrap();
        assert_eq!(health(&fixture, blob.hash).await, Some(mark));
    }
}

/// Writing the bytes of a damaged inline blob again heals it, even where nothing changes.
pub async fn writing_the_bytes_again_heals_an_inline_blob(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let text = fixture.book.as_str().as_bytes();
    let hash = ContentHash::of(text);
    fixture.put(&Layer::Base, &lesson(1), text).await;
    for path in [lesson(2), lesson(1)] {
        fixture.journal.mark(hash, BlobState::Corrupt).await.unwrap();
        fixture.commit_one(&Layer::Base, write(&path, text, None)).await;
        assert_eq!(health(&fixture, hash).await, Some(BlobState::Live), "{path}");
    }
}

/// Damaged blobs count once each, and only while a current file refers to them. Runs alone.
pub async fn damaged_blobs_count_while_a_file_holds_them(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let before = fixture.journal.damaged().await.unwrap();
    let more = async || fixture.journal.damaged().await.unwrap() - before;
    let loose = object(format!("{} loose", fixture.book).as_bytes());
    fixture.stage(&loose).await;
    fixture.journal.mark(loose.hash, BlobState::Missing).await.unwrap();
    assert_eq!(more().await, 0, "no file holds it");
    let held = object(fixture.book.as_str().as_bytes());
    let staging = fixture.stage(&held).await;
    let changes = [lesson(1), lesson(2)].map(|path| write_staged(&path, &held, staging)).to_vec();
    fixture.commit(&Layer::Base, changes).await;
    assert_eq!(more().await, 0);
    for health in [BlobState::Missing, BlobState::Corrupt] {
        fixture.journal.mark(held.hash, health).await.unwrap();
        assert_eq!(more().await, 1, "{health:?}, held twice, is one blob");
    }
    fixture.delete(&Layer::Base, &lesson(1)).await;
    assert_eq!(more().await, 1);
    fixture.delete(&Layer::Base, &lesson(2)).await;
    assert_eq!(more().await, 0);
}
