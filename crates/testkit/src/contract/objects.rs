//! The object storage: immutable bytes by their hash.

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
