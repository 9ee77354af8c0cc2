//! Contract tests of the upload store: large uploads from their arrival to their inspection.

use std::time::Duration;

use futures::TryStreamExt;
use panaversity_model::ids::UploadId;
use panaversity_model::upload::{Permit, SignedPut, UploadEntry};

use super::{UploadStoreSetup, whole};
use crate::client::put;
use crate::samples::upload_id;

fn bytes(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from((n + seed) % 251).unwrap()).collect()
}

/// Receives an upload in parts.
async fn receive(setup: &UploadStoreSetup, id: UploadId, bytes: &[u8], part: usize) {
    let mut receiving = setup.upload_store.receive(id).await.unwrap();
    for part in bytes.chunks(part) {
        receiving.write(part).await.unwrap();
    }
    receiving.finish().await.unwrap();
}

async fn read(setup: &UploadStoreSetup, id: UploadId) -> Option<Vec<u8>> {
    whole(setup.upload_store.open(id).await.unwrap()).await
}

/// An upload has arrived when it is finished, and not before.
pub async fn an_upload_has_arrived_when_it_is_finished(setup: &UploadStoreSetup) {
    let (id, other) = (upload_id(), upload_id());
    let mut receiving = setup.upload_store.receive(id).await.unwrap();
    receiving.write(b"half of ").await.unwrap();
    assert_eq!(setup.upload_store.arrived(id).await.unwrap(), None);
    assert!(setup.upload_store.open(id).await.unwrap().is_none());
    receiving.write(b"it").await.unwrap();
    receiving.finish().await.unwrap();
    assert_eq!(setup.upload_store.arrived(id).await.unwrap(), Some(10));
    assert_eq!(read(setup, id).await.as_deref(), Some(&b"half of it"[..]));
    assert_eq!(setup.upload_store.arrived(other).await.unwrap(), None);
    receive(setup, id, b"another", 3).await;
    assert_eq!(read(setup, id).await.as_deref(), Some(&b"another"[..]), "the later one counts");
}

/// R2: an upload is read back byte for byte, whatever its size and its parts.
pub async fn r2_an_upload_is_read_back_byte_for_byte(setup: &UploadStoreSetup) {
    for (size, part) in [(0, 1), (1, 1), (70_000, 999), (12 << 20, 1 << 20), ((6 << 20) + 1, 7 << 20)] {
        let (id, bytes) = (upload_id(), bytes(size, 0));
        receive(setup, id, &bytes, part).await;
        assert_eq!(setup.upload_store.arrived(id).await.unwrap(), Some(size as u64));
        assert!(read(setup, id).await == Some(bytes), "{size} in parts of {part}");
    }
}

/// An upload that was dropped before it was finished has not arrived, and leaves an earlier one.
pub async fn what_was_dropped_has_not_arrived(setup: &UploadStoreSetup) {
    let (id, kept) = (upload_id(), upload_id());
    receive(setup, kept, b"kept", 9).await;
    for id in [id, kept] {
        let mut receiving = setup.upload_store.receive(id).await.unwrap();
        for _ in 0..6 {
            receiving.write(&bytes(1 << 20, 1)).await.unwrap();
        }
    }
    assert_eq!(setup.upload_store.arrived(id).await.unwrap(), None);
    assert_eq!(read(setup, kept).await.as_deref(), Some(&b"kept"[..]));
}

/// Discarding is idempotent, and a discarded upload may arrive again.
pub async fn discarding_an_upload_twice_is_fine(setup: &UploadStoreSetup) {
    let (id, kept) = (upload_id(), upload_id());
    receive(setup, kept, b"kept", 9).await;
    for _ in 0..2 {
        receive(setup, id, b"x", 1).await;
        setup.upload_store.discard(id).await.unwrap();
        setup.upload_store.discard(id).await.unwrap();
        assert_eq!(setup.upload_store.arrived(id).await.unwrap(), None);
        assert!(setup.upload_store.open(id).await.unwrap().is_none());
    }
    assert_eq!(setup.upload_store.arrived(kept).await.unwrap(), Some(4));
}

/// Reading an upload that is replaced meanwhile returns the older version, or a fault.
pub async fn one_version_is_read_to_its_end(setup: &UploadStoreSetup) {
    let (id, older, later) = (upload_id(), bytes(9 << 20, 0), bytes(9 << 20, 7));
    receive(setup, id, &older, 1 << 20).await;
    let mut parts = setup.upload_store.open(id).await.unwrap().unwrap();
    let mut read = parts.try_next().await.unwrap().unwrap();
    receive(setup, id, &later, 1 << 20).await;
    loop {
        match parts.try_next().await {
            Err(_) => break,
            Ok(Some(part)) => read.extend(part),
            Ok(None) => {
                assert!(read == older, "a mixture of two versions");
                break;
            }
        }
    }
    assert!(whole(setup.upload_store.open(id).await.unwrap()).await == Some(later));
}

/// All uploads in the store.
async fn listed(setup: &UploadStoreSetup) -> Vec<UploadEntry> {
    let (mut listing, mut listed) = (setup.upload_store.list_arrived(), Vec::new());
    while let Some(page) = listing.try_next().await.unwrap() {
        listed.extend(page);
    }
    listed
}

/// An upload that has arrived is listed once, with its size and its time; a swept one is removed.
pub async fn what_has_arrived_is_listed_and_swept(setup: &UploadStoreSetup) {
    let ids: Vec<UploadId> = (0..9).map(|_| upload_id()).collect();
    for (n, id) in ids.iter().enumerate() {
        receive(setup, *id, &bytes(n, 0), 4).await;
    }
    let seen = listed(setup).await;
    for (n, id) in ids.iter().enumerate() {
        let found: Vec<_> = seen.iter().filter(|seen| seen.id == Some(*id)).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].size, found[0].put_at.is_some()), (n as u64, true));
        if n % 2 == 0 {
            setup.upload_store.sweep(found[0]).await.unwrap();
            setup.upload_store.sweep(found[0]).await.unwrap();
        }
    }
    let left: Vec<_> = listed(setup).await.into_iter().filter_map(|seen| seen.id).collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(left.contains(id), n % 2 == 1);
        assert_eq!(setup.upload_store.arrived(*id).await.unwrap().is_some(), n % 2 == 1);
    }
}

/// A storage's own URL accepts the upload it was signed for with the headers returned with it, and
/// nothing else. Skipped where a storage has none.
pub async fn a_signed_url_takes_its_upload_and_nothing_else(setup: &UploadStoreSetup) {
    let (id, other, bytes) = (upload_id(), upload_id(), bytes(300_000, 0));
    let permit = Permit { size: 300_000, media_type: "image/png", valid_for: Duration::from_mins(1) };
    let Some(signed) = setup.upload_store.presign(id, &permit).await.unwrap() else { return };
    assert_eq!(put(&signed, &bytes).await, 200);
    assert_eq!(setup.upload_store.arrived(id).await.unwrap(), Some(300_000));
    assert!(read(setup, id).await == Some(bytes.clone()));
    let typed = |name: &str| {
        let lower = |(header, _): &&(String, String)| header.eq_ignore_ascii_case(name);
        signed.headers.iter().find(lower).map(|(_, value)| value.as_str())
    };
    assert_eq!(typed("content-type"), Some("image/png"));
    let elsewhere = signed.url.replace(&id.to_string(), &other.to_string());
    let longer = signed.url.replace("X-Amz-Expires=60", "X-Amz-Expires=600");
    assert!(signed.url != elsewhere && signed.url != longer);
    let page = signed.headers.iter().map(|(name, value)| (name.clone(), value.replace("png", "svg+xml")));
    let tampered = [
        SignedPut { url: elsewhere, headers: signed.headers.clone() },
        SignedPut { url: longer, headers: signed.headers.clone() },
        SignedPut { url: signed.url.clone(), headers: page.collect() },
    ];
    for tampered in tampered {
        assert_eq!(put(&tampered, b"tampered").await, 403, "{}", tampered.url);
    }
    assert_eq!(setup.upload_store.arrived(other).await.unwrap(), None);
    assert!(read(setup, id).await == Some(bytes), "and nothing was changed");
}
