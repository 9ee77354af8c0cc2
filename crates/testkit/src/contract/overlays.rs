//! Contract tests of the base below an overlay's file: whether it has changed since the file was written.

use std::time::Duration;

use panaversity_model::file::BaseChange;
use panaversity_model::{ContentHash, Layer, View};

use super::Setup;
use super::fixture::{ContractFixture, unpack};
use crate::samples::{lesson, overlay, view};

/// The change of the base that a view is told at the first lesson.
async fn told(fixture: &ContractFixture, view: &View) -> Option<BaseChange> {
    let (path, plain) = (lesson(1), fixture.find(view, &lesson(1)).await);
    let overlaid = fixture.journal.find_overlaid(&fixture.book, &path, view).await.unwrap();
    assert_eq!(overlaid.as_ref().map(|file| &file.found), plain.as_ref(), "the file is the one of `find`");
    overlaid.and_then(|file| file.base_change)
}

fn change(then: Option<&str>, now: Option<&str>) -> BaseChange {
    let hash = |text: Option<&str>| text.map(|text| ContentHash::of(text.as_bytes()));
    BaseChange { then: hash(then), now: hash(now) }
}

/// A change of the base is told until the overlay's file is written again, or the base is what it was.
pub async fn a_base_that_changed_below_an_overlay_is_told(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (mine, base) = (overlay("owner"), Layer::Base);
    let (hers, path) = (view(&mine), lesson(1));
    assert_eq!(told(&fixture, &hers).await, None, "there is no file");
    fixture.put(&base, &path, b"a").await;
    fixture.put(&base, &path, b"b").await;
    assert_eq!(told(&fixture, &hers).await, None, "the file is the base's");
    fixture.put(&mine, &path, b"mine").await;
    assert_eq!(told(&fixture, &hers).await, None, "the base is what it was");
    fixture.put(&base, &lesson(2), b"c").await;
    fixture.put(&mine, &lesson(2), b"mine").await;
    assert_eq!(told(&fixture, &hers).await, None, "another file has changed");
    fixture.put(&base, &path, b"c").await;
    assert_eq!(told(&fixture, &hers).await, Some(change(Some("b"), Some("c"))));
    fixture.put(&base, &path, b"d").await;
    fixture.put(&mine, &path, b"mine").await;
    assert_eq!(
        told(&fixture, &hers).await,
        Some(change(Some("b"), Some("d"))),
        "the same bytes are no write"
    );
    fixture.put(&base, &path, b"b").await;
    assert_eq!(told(&fixture, &hers).await, None, "the base is again what it was");
    fixture.delete(&base, &path).await;
    assert_eq!(told(&fixture, &hers).await, Some(change(Some("b"), None)));
    fixture.put(&mine, &path, b"mine, later").await;
    assert_eq!(told(&fixture, &hers).await, None, "it was written above no base file");
    fixture.put(&base, &path, b"e").await;
    assert_eq!(told(&fixture, &hers).await, Some(change(None, Some("e"))));
    fixture.delete(&mine, &path).await;
    assert_eq!(told(&fixture, &hers).await, None, "the file is the base's");
}

/// R5: an overlay is compared with the base alone, and a stranger is told nothing.
pub async fn r5_a_change_of_another_overlay_is_told_to_nobody_else(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (mine, other) = (overlay("owner"), overlay("other"));
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    fixture.put(&mine, &lesson(1), b"mine").await;
    fixture.put(&other, &lesson(1), b"hers").await;
    fixture.put(&other, &lesson(1), b"hers, later").await;
    assert_eq!(told(&fixture, &view(&mine)).await, None);
    fixture.put(&Layer::Base, &lesson(1), b"b").await;
    assert_eq!(told(&fixture, &view(&mine)).await, Some(change(Some("a"), Some("b"))));
    for stranger in [View::base(), view(&overlay("stranger"))] {
        assert_eq!(told(&fixture, &stranger).await, None);
        assert_eq!(unpack(&fixture.find(&stranger, &lesson(1)).await.unwrap()), b"b");
    }
}

/// Of a version that is no longer kept the hash is not told, nor that of an older one in its place.
pub async fn a_base_that_is_no_longer_kept_is_told_without_its_hash(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (mine, base, path) = (overlay("owner"), Layer::Base, lesson(1));
    let soon = fixture.journal.now().await.unwrap().after(Duration::from_hours(1));
    for text in [b"pinned", b"a text"] {
        fixture.put(&base, &path, text).await;
    }
    let pinned = [(path.as_str(), ContentHash::of(b"pinned"))];
    fixture.journal.pin(&fixture.book, soon, &pinned).await.unwrap();
    fixture.put(&mine, &path, b"mine").await;
    fixture.put(&base, &path, b"b text").await;
    assert_eq!(told(&fixture, &view(&mine)).await, Some(change(Some("a text"), Some("b text"))));
    while fixture.journal.forget_versions(soon, 99).await.unwrap() > 0 {}
    assert_eq!(fixture.version(&View::base(), &path, ContentHash::of(b"a text")).await, None);
    assert!(fixture.version(&View::base(), &path, ContentHash::of(b"pinned")).await.is_some());
    assert_eq!(told(&fixture, &view(&mine)).await, Some(change(None, Some("b text"))));
    fixture.delete(&base, &path).await;
    while fixture.journal.forget_versions(soon, 99).await.unwrap() > 0 {}
    assert_eq!(told(&fixture, &view(&mine)).await, Some(change(None, None)));
}
