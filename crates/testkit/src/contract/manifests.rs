//! Contract tests of manifests and of the stamp that tells whether a cached one is still valid.

use std::collections::BTreeSet;
use std::time::Duration;

use panaversity_model::blob::{Blob, BlobLocation, BlobMetadata, BlobState};
use panaversity_model::manifest::{ManifestRow, Stamp};
use panaversity_model::{BookPath, ContentHash, Layer};

use super::Setup;
use super::fixture::ContractFixture;
use crate::samples::{book, inline, lesson, object, overlay, write};

async fn stamp(fixture: &ContractFixture) -> Stamp {
    fixture.journal.stamp(&fixture.book, &Layer::Base).await.unwrap()
}

async fn rows(fixture: &ContractFixture, above: i64) -> Vec<ManifestRow> {
    let (stamp_then, mut rows) = fixture.journal.rows(&fixture.book, &Layer::Base, above).await.unwrap();
    assert_eq!(stamp_then, stamp(fixture).await, "rows come with the stamp of their snapshot");
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    rows
}

async fn blob_metadata(
    fixture: &ContractFixture,
    asked: &[(&BookPath, ContentHash)],
) -> Vec<Option<BlobMetadata>> {
    let asked: Vec<_> = asked.iter().map(|(path, hash)| (path.as_str(), *hash)).collect();
    fixture.journal.blob_metadata(&fixture.book, &asked).await.unwrap()
}

/// Expected metadata of a live blob that no manifest keeps.
fn metadata(blob: &Blob) -> BlobMetadata {
    let deflated = match &blob.location {
        BlobLocation::Inline(deflated) => Some(deflated.len() as u64),
        BlobLocation::Object(_) => None,
    };
    BlobMetadata { size: blob.size, crc32: blob.crc32, deflated, state: BlobState::Live, kept_until: None }
}

/// Every change of the base gives the book a new stamp.
pub async fn every_change_gives_a_new_stamp(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let mut seen = vec![stamp(&fixture).await];
    assert_eq!(seen, [Stamp::default()]);
    for step in 0..12usize {
        let path = lesson(step % 3);
        if step % 4 == 3 {
            fixture.delete(&Layer::Base, &lesson((step + 1) % 3)).await;
        } else {
            fixture.put(&Layer::Base, &path, format!("{step}").as_bytes()).await;
        }
        let now = stamp(&fixture).await;
        assert!(!seen.contains(&now), "step {step}: {now:?} in {seen:?}");
        seen.push(now);
        let rows = rows(&fixture, 0).await;
        let due = Stamp {
            count: i64::try_from(rows.len()).unwrap(),
            sum: rows.iter().map(|row| row.item.version).sum(),
            highest: rows.iter().map(|row| row.item.version).max().unwrap_or(0),
        };
        assert_eq!(now, due, "step {step}");
    }
}

/// R5: neither overlays nor writes that change nothing affect the stamp.
pub async fn r5_an_overlay_leaves_the_stamp_alone(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    let before = (stamp(&fixture).await, rows(&fixture, 0).await);
    fixture.put(&overlay("ann"), &lesson(1), b"b").await;
    fixture.put(&overlay("ann"), &lesson(2), b"b").await;
    fixture.delete(&overlay("ann"), &lesson(1)).await;
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    fixture.delete(&Layer::Base, &lesson(3)).await;
    assert_eq!((stamp(&fixture).await, rows(&fixture, 0).await), before);
}

/// R5: an overlay has a stamp and rows of its own, which no other layer's changes touch.
pub async fn r5_an_overlay_has_a_stamp_and_rows_of_its_own(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (ann, bob) = (overlay("ann"), overlay("bob"));
    let of = async |layer: &Layer| fixture.journal.rows(&fixture.book, layer, 0).await.unwrap();
    assert_eq!(of(&ann).await, (Stamp::default(), vec![]));
    fixture.put(&ann, &lesson(1), b"hers").await;
    let hers = of(&ann).await;
    assert_eq!(fixture.journal.stamp(&fixture.book, &ann).await.unwrap(), hers.0);
    let rows: Vec<_> = hers.1.iter().map(|row| (row.path.as_str(), row.item.hash)).collect();
    assert_eq!((hers.0.count, rows), (1, vec![(lesson(1).as_str(), ContentHash::of(b"hers"))]));
    fixture.put(&Layer::Base, &lesson(1), b"base").await;
    fixture.put(&bob, &lesson(1), b"his").await;
    assert_eq!(of(&ann).await, hers);
    fixture.put(&ann, &lesson(1), b"hers again").await;
    let newer = fixture.journal.rows(&fixture.book, &ann, hers.0.highest).await.unwrap();
    assert_eq!((newer.1.len(), newer.1[0].item.hash), (1, ContentHash::of(b"hers again")));
    fixture.delete(&ann, &lesson(1)).await;
    assert_eq!(of(&ann).await, (Stamp::default(), vec![]));
    assert_eq!((of(&Layer::Base).await.0.count, of(&bob).await.0.count), (1, 1));
}

/// All rows of many are returned, whatever the number that the engine reads at a time.
pub async fn many_rows_are_returned_whole(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    for first in [0, 1024] {
        let changes = (first..first + 1024).map(|n| write(&lesson(n), format!("{n}").as_bytes(), None));
        fixture.commit(&Layer::Base, changes.collect()).await;
        let rows = rows(&fixture, 0).await;
        let stored: BTreeSet<_> = rows.iter().map(|row| row.path.clone()).collect();
        let written: BTreeSet<_> = (0..first + 1024).map(|n| lesson(n).to_string()).collect();
        assert_eq!((rows.len(), stored), (written.len(), written));
    }
}

/// The rows above a version are exactly those changed after it.
pub async fn rows_above_a_version_are_exactly_the_newer_ones(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    for n in 0..4 {
        fixture.put(&Layer::Base, &lesson(n), format!("{n}").as_bytes()).await;
    }
    let all = rows(&fixture, 0).await;
    assert_eq!(all.len(), 4);
    for (n, row) in all.iter().enumerate() {
        assert_eq!(row.path, lesson(n).as_str());
        assert_eq!((row.item.hash, row.item.size), (ContentHash::of(format!("{n}").as_bytes()), 1));
        assert_eq!(rows(&fixture, row.item.version).await, all[n + 1..], "above its own version it is not");
    }
    let mark = stamp(&fixture).await.highest;
    assert_eq!(rows(&fixture, mark).await, vec![]);
    fixture.put(&Layer::Base, &lesson(1), b"new").await;
    fixture.delete(&Layer::Base, &lesson(2)).await;
    fixture.put(&Layer::Base, &lesson(9), b"new").await;
    let newer: Vec<_> = rows(&fixture, mark).await.into_iter().map(|row| row.path).collect();
    assert_eq!(newer, [lesson(1).as_str(), lesson(9).as_str()]);
}

/// A kept manifest is returned as it was stored, to its own book only.
pub async fn a_kept_manifest_is_given_back_to_its_book(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    fixture.put(&Layer::Base, &lesson(1), b"a").await;
    let (hash, encoded) = (ContentHash::of(b"manifest"), [0, 1, 255, 0, 7]);
    let kept = || fixture.journal.kept(&fixture.book, hash);
    assert_eq!(kept().await.unwrap(), None);
    fixture.journal.keep(&fixture.book, hash, &encoded).await.unwrap();
    fixture.journal.keep(&fixture.book, hash, &encoded).await.unwrap();
    assert_eq!(kept().await.unwrap(), Some(encoded.to_vec()));
    assert_eq!(fixture.journal.kept(&book(), hash).await.unwrap(), None);
    assert_eq!(fixture.journal.kept(&fixture.book, ContentHash::of(b"other")).await.unwrap(), None);
}

/// R5: metadata is returned for versions of base files, old ones too, but not for those of an
/// overlay, another path or another book.
pub async fn a_version_of_the_base_is_outlined_and_nothing_else(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (text, large) =
        (format!("{} {}", fixture.book, "long ".repeat(90)), object(fixture.book.as_str().as_bytes()));
    let (old, secret) = (inline(text.as_bytes()), inline(format!("{} ann", fixture.book).as_bytes()));
    fixture.put(&Layer::Base, &lesson(1), text.as_bytes()).await;
    fixture.put(&Layer::Base, &lesson(1), b"new").await;
    fixture.put(&Layer::Base, &lesson(1), text.as_bytes()).await;
    fixture.put(&Layer::Base, &lesson(1), b"newer").await;
    fixture.put_object(&lesson(2), &large).await;
    fixture.put(&overlay("ann"), &lesson(1), format!("{} ann", fixture.book).as_bytes()).await;
    let (one, two) = (lesson(1), lesson(2));
    let asked =
        [(&two, large.hash), (&one, old.hash), (&one, large.hash), (&two, old.hash), (&one, secret.hash)];
    let due = [Some(metadata(&large)), Some(metadata(&old)), None, None, None];
    assert_eq!(blob_metadata(&fixture, &asked).await, due);
    let elsewhere = fixture.journal.blob_metadata(&book(), &[(two.as_str(), large.hash)]).await.unwrap();
    assert_eq!(elsewhere, [None]);
    assert_eq!(blob_metadata(&fixture, &[]).await, []);

    for health in [BlobState::Missing, BlobState::Corrupt] {
        fixture.journal.mark(large.hash, health).await.unwrap();
        assert_eq!(
            blob_metadata(&fixture, &[(&two, large.hash)]).await,
            [Some(BlobMetadata { state: health, ..metadata(&large) })]
        );
    }
    let many: Vec<_> =
        (0..700).map(|n| if n % 3 == 0 { (&one, old.hash) } else { (&one, large.hash) }).collect();
    let found = blob_metadata(&fixture, &many).await;
    assert!(
        found.iter().enumerate().all(|(n, found)| found.is_some() == (n % 3 == 0)),
        "in the order asked for"
    );
}

/// I9: once a version was found to be kept until a given time, no `gc` removes it earlier, not even
/// one in progress. Runs alone.
pub async fn i9_a_version_found_pinned_is_not_let_go(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let paths: Vec<_> = (0..40).map(lesson).collect();
    let old = ContentHash::of(b"old");
    for path in &paths {
        fixture.put(&Layer::Base, path, b"old").await;
        fixture.put(&Layer::Base, path, b"new").await;
    }
    let now = fixture.journal.now().await.unwrap();
    let (since, until) = (now.after(Duration::from_secs(1)), now.after(Duration::from_hours(1)));
    let forgetting = async {
        while fixture.journal.forget_versions(since, 3).await.unwrap() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let asked: Vec<_> = paths.iter().map(|path| (path, old)).collect();
    let pinning = async {
        for some in asked.chunks(4).rev() {
            let versions: Vec<_> = some.iter().map(|(path, hash)| (path.as_str(), *hash)).collect();
            fixture.journal.pin(&fixture.book, until, &versions).await.unwrap();
        }
        blob_metadata(&fixture, &asked).await
    };
    let ((), found) = tokio::join!(forgetting, pinning);
    let kept = blob_metadata(&fixture, &asked).await;
    assert_eq!(found.iter().flatten().count(), kept.iter().flatten().count());
    assert!(kept.iter().flatten().all(|metadata| metadata.kept_until == Some(until)), "{kept:?}");
    fixture.journal.pin(&fixture.book, now, &[(paths[0].as_str(), old)]).await.unwrap();
    assert_eq!(blob_metadata(&fixture, &asked).await, kept, "no pin makes another shorter");
}
