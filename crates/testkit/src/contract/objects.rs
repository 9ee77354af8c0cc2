//! The object storage: immutable bytes by their hash.

use std::collections::BTreeMap;

use panaversity_model::ContentHash;

use super::ObjectsSetup;
use super::desk::together;
use crate::samples;

/// Bytes nobody else has put.
fn bytes(size: usize) -> Vec<u8> {
    let mut bytes = samples::book().as_str().as_bytes().to_vec();
    bytes.extend((bytes.len()..size).map(|n| u8::try_from(n % 251).unwrap()));
    bytes
}

/// R2: what was put is read back byte for byte, and its size is known.
pub async fn r2_what_was_put_is_read_back(setup: &ObjectsSetup) {
    for bytes in [bytes(0), bytes(1 << 16), bytes((3 << 20) + 1)] {
        let (hash, size) = (ContentHash::of(&bytes), bytes.len() as u64);
        setup.objects.put(hash, &bytes).await.unwrap();
        assert_eq!(setup.objects.stat(hash).await.unwrap(), Some(size));
        for limit in [size, size + 1, u64::MAX] {
            assert!(setup.objects.get(hash, limit).await.unwrap().as_ref() == Some(&bytes), "limit {limit}");
        }
    }
    let nothing = ContentHash::of(b"");
    setup.objects.put(nothing, b"").await.unwrap();
    assert_eq!(setup.objects.stat(nothing).await.unwrap(), Some(0));
    assert_eq!(setup.objects.get(nothing, 10).await.unwrap(), Some(Vec::new()));
}

/// What was never put is absent, which is no fault.
pub async fn what_was_never_put_is_absent(setup: &ObjectsSetup) {
    let hash = ContentHash::of(&bytes(0));
    assert_eq!(setup.objects.stat(hash).await.unwrap(), None);
    assert_eq!(setup.objects.get(hash, 10).await.unwrap(), None);
}

/// Putting an object again is harmless, one after the other and at once.
pub async fn putting_again_is_harmless(setup: &ObjectsSetup) {
    let bytes = bytes(200_000);
    let hash = ContentHash::of(&bytes);
    setup.objects.put(hash, &bytes).await.unwrap();
    setup.objects.put(hash, &bytes).await.unwrap();
    together(8, |_| {
        let (objects, bytes) = (setup.objects.clone(), bytes.clone());
        async move { objects.put(hash, &bytes).await.unwrap() }
    })
    .await;
    assert!(setup.objects.get(hash, u64::MAX).await.unwrap() == Some(bytes));
}

/// No more bytes come back than were asked for.
pub async fn no_more_than_the_limit_is_read(setup: &ObjectsSetup) {
    let bytes = bytes(100_000);
    let hash = ContentHash::of(&bytes);
    setup.objects.put(hash, &bytes).await.unwrap();
    for limit in [0, 1, 99_999] {
        let read = setup.objects.get(hash, limit).await.unwrap().unwrap();
        assert!(read == bytes[..usize::try_from(limit).unwrap()], "limit {limit}");
    }
}

/// Deleting is idempotent, and what was deleted can be put again.
pub async fn deleting_an_object_twice_is_fine(setup: &ObjectsSetup) {
    let bytes = bytes(1_000);
    let hash = ContentHash::of(&bytes);
    setup.objects.delete(hash).await.unwrap();
    for _ in 0..2 {
        setup.objects.put(hash, &bytes).await.unwrap();
        setup.objects.delete(hash).await.unwrap();
        setup.objects.delete(hash).await.unwrap();
        assert_eq!(setup.objects.stat(hash).await.unwrap(), None);
        assert_eq!(setup.objects.get(hash, 10).await.unwrap(), None);
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
    while let Some(page) = listing.next().await.unwrap() {
        listed.extend(page.into_iter().filter_map(|seen| Some((seen.hash?, seen.size))));
    }
    listed.retain(|(hash, _)| due.contains_key(hash));
    listed.sort_unstable();
    assert_eq!(listed, due.into_iter().collect::<Vec<_>>());
}
