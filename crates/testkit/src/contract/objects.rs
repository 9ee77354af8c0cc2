//! Contract tests of the object storage: immutable bytes by their hash.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use panaversity_model::ContentHash;

use super::ObjectsSetup;
use super::fixture::run_concurrently;
use crate::samples;

/// Bytes that no other test puts.
fn bytes(size: usize) -> Vec<u8> {
    let mut bytes = samples::book().as_str().as_bytes().to_vec();
    bytes.extend((bytes.len()..size).map(|n| u8::try_from(n % 251).unwrap()));
    bytes
}

/// R2: an object is read back byte for byte, and its size is known.
pub async fn r2_what_was_put_is_read_back(setup: &ObjectsSetup) {
    for bytes in [bytes(0), bytes(1 << 16), bytes((3 << 20) + 1)] {
        let (hash, size) = (ContentHash::of(&bytes), bytes.len() as u64);
        setup.objects.put(hash, &bytes).await.unwrap();
        assert_eq!(setup.objects.stat(hash).await.unwrap(), Some(size));
        for end in [size, size + 1, u64::MAX] {
            assert!(setup.objects.get(hash, 0..end).await.unwrap().as_ref() == Some(&bytes), "to {end}");
        }
    }
    let nothing = ContentHash::of(b"");
    setup.objects.put(nothing, b"").await.unwrap();
    assert_eq!(setup.objects.stat(nothing).await.unwrap(), Some(0));
    assert_eq!(setup.objects.get(nothing, 0..10).await.unwrap(), Some(Vec::new()));
}

/// An object that was never put is absent, which is no fault.
pub async fn what_was_never_put_is_absent(setup: &ObjectsSetup) {
    let hash = ContentHash::of(&bytes(0));
    assert_eq!(setup.objects.stat(hash).await.unwrap(), None);
    assert_eq!(setup.objects.get(hash, 0..10).await.unwrap(), None);
}

/// Putting an object again is harmless, one after the other and at once.
pub async fn putting_again_is_harmless(setup: &ObjectsSetup) {
    let bytes = bytes(200_000);
    let hash = ContentHash::of(&bytes);
    setup.objects.put(hash, &bytes).await.unwrap();
    setup.objects.put(hash, &bytes).await.unwrap();
    run_concurrently(8, |_| {
        let (objects, bytes) = (setup.objects.clone(), bytes.clone());
        async move { objects.put(hash, &bytes).await.unwrap() }
    })
    .await;
    assert!(setup.objects.get(hash, 0..u64::MAX).await.unwrap() == Some(bytes));
}

/// A range returns its bytes, as far as they exist.
pub async fn a_range_gives_the_bytes_there_are(setup: &ObjectsSetup) {
    let bytes = bytes(100_000);
    let (hash, size) = (ContentHash::of(&bytes), 100_000);
    setup.objects.put(hash, &bytes).await.unwrap();
    for (start, end) in [
        (0, 0),
        (0, 1),
        (0, size - 1),
        (1, size),
        (40_000, 60_000),
        (60_000, 60_000),
        (size - 1, size + 9),
        (size, size + 1),
        (size + 5, u64::MAX),
    ] {
        let due = &bytes[usize::try_from(start.min(size)).unwrap()..usize::try_from(end.min(size)).unwrap()];
        let read = setup.objects.get(hash, start..end).await.unwrap();
        assert!(read.as_deref() == Some(due), "{start} to {end}");
    }
}

/// Writes these parts and promotes them.
async fn promote(setup: &ObjectsSetup, bytes: &[u8], part: usize) {
    let mut staging = setup.objects.stage().await.unwrap();
    for part in bytes.chunks(part) {
        staging.write(part).await.unwrap();
    }
    staging.promote(ContentHash::of(bytes)).await.unwrap();
}

/// R2: an object written in parts is read back as a whole, whatever the parts.
pub async fn r2_what_was_promoted_is_read_back(setup: &ObjectsSetup) {
    for (size, part) in [(0, 1), (70_000, 999), (12 << 20, 1 << 20), ((6 << 20) + 1, 7 << 20)] {
        let bytes = if size == 0 { Vec::new() } else { bytes(size) };
        promote(setup, &bytes, part).await;
        let hash = ContentHash::of(&bytes);
        assert_eq!(setup.objects.stat(hash).await.unwrap(), Some(size as u64));
        let read = setup.objects.get(hash, 0..u64::MAX).await.unwrap();
        assert!(read.as_ref() == Some(&bytes), "{size} in parts of {part}");
    }
}

/// Before an object is promoted it does not exist; if it is dropped, it never will.
pub async fn i9_what_was_staged_and_dropped_is_no_object(setup: &ObjectsSetup) {
    let bytes = bytes(6 << 20);
    let hash = ContentHash::of(&bytes);
    let mut staging = setup.objects.stage().await.unwrap();
    drop(setup.objects.stage().await.unwrap());
    for part in bytes.chunks(1 << 20) {
        staging.write(part).await.unwrap();
    }
    assert_eq!(setup.objects.stat(hash).await.unwrap(), None);
    drop(staging);
    assert_eq!(setup.objects.stat(hash).await.unwrap(), None);
    assert!(setup.objects.list_objects().try_next().await.is_ok());
}

/// Promoting an existing object is harmless, one after the other and at once.
pub async fn promoting_again_is_harmless(setup: &ObjectsSetup) {
    let bytes = bytes(200_000);
    promote(setup, &bytes, 70_000).await;
    let (mut staged, hash) = (Vec::new(), ContentHash::of(&bytes));
    for _ in 0..4 {
        let mut staging = setup.objects.stage().await.unwrap();
        staging.write(&bytes).await.unwrap();
        staged.push(staging);
    }
    let promoted = staged.into_iter().map(|staging| staging.promote(hash));
    assert!(futures::future::join_all(promoted).await.iter().all(Result::is_ok));
    assert!(setup.objects.get(hash, 0..u64::MAX).await.unwrap() == Some(bytes));
}

/// Deleting is idempotent, and a deleted object can be put again.
pub async fn deleting_an_object_twice_is_fine(setup: &ObjectsSetup) {
    let bytes = bytes(1_000);
    let hash = ContentHash::of(&bytes);
    setup.objects.delete(hash).await.unwrap();
    for _ in 0..2 {
        setup.objects.put(hash, &bytes).await.unwrap();
        setup.objects.delete(hash).await.unwrap();
        setup.objects.delete(hash).await.unwrap();
        assert_eq!(setup.objects.stat(hash).await.unwrap(), None);
        assert_eq!(setup.objects.get(hash, 0..10).await.unwrap(), None);
    }
}

/// Every object is listed once, with its size, over any number of pages.
pub async fn every_object_is_listed_once(setup: &ObjectsSetup) {
    let mut due = BTreeMap::new();
    for size in 100..140 {
        let bytes = bytes(size);
        due.insert(ContentHash::of(&bytes), size as u64);
        setup.objects.put(ContentHash::of(&bytes), &bytes).await.unwrap();
    }
    let (mut listing, mut listed) = (setup.objects.list_objects(), Vec::new());
    while let Some(page) = listing.try_next().await.unwrap() {
        listed.extend(page.into_iter().filter_map(|seen| Some((seen.hash?, seen.size))));
    }
    listed.retain(|(hash, _)| due.contains_key(hash));
    listed.sort_unstable();
    assert_eq!(listed, due.into_iter().collect::<Vec<_>>());
}
