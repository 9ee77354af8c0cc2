//! Manifests and the stamp that tells whether one still holds.

use panaversity_model::manifest::{ManifestRow, Stamp};
use panaversity_model::{ContentHash, Layer};

use super::Setup;
use super::desk::Desk;
use crate::samples::{book, lesson, overlay};

async fn stamp(desk: &Desk) -> Stamp {
    desk.journal.stamp(&desk.book).await.unwrap()
}

async fn rows(desk: &Desk, above: i64) -> Vec<ManifestRow> {
    let (stamp_then, mut rows) = desk.journal.rows(&desk.book, above).await.unwrap();
    assert_eq!(stamp_then, stamp(desk).await, "rows come with the stamp of their snapshot");
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    rows
}

/// Every change of the base gives the book a stamp it never had.
pub async fn every_change_gives_a_new_stamp(setup: &Setup) {
    let desk = Desk::new(setup);
    let mut seen = vec![stamp(&desk).await];
    assert_eq!(seen, [Stamp::default()]);
    for step in 0..12usize {
        let path = lesson(step % 3);
        if step % 4 == 3 {
            desk.delete(&Layer::Base, &lesson((step + 1) % 3)).await;
        } else {
            desk.put(&Layer::Base, &path, format!("{step}").as_bytes()).await;
        }
        let now = stamp(&desk).await;
        assert!(!seen.contains(&now), "step {step}: {now:?} in {seen:?}");
        seen.push(now);
        let rows = rows(&desk, 0).await;
        let due = Stamp {
            count: i64::try_from(rows.len()).unwrap(),
            sum: rows.iter().map(|row| row.item.version).sum(),
            highest: rows.iter().map(|row| row.item.version).max().unwrap_or(0),
        };
        assert_eq!(now, due, "step {step}");
    }
}

/// R5: neither overlays nor writes that change nothing touch the stamp.
pub async fn r5_an_overlay_leaves_the_stamp_alone(setup: &Setup) {
    let desk = Desk::new(setup);
    desk.put(&Layer::Base, &lesson(1), b"a").await;
    let before = (stamp(&desk).await, rows(&desk, 0).await);
    desk.put(&overlay("ann"), &lesson(1), b"b").await;
    desk.put(&overlay("ann"), &lesson(2), b"b").await;
    desk.delete(&overlay("ann"), &lesson(1)).await;
    desk.put(&Layer::Base, &lesson(1), b"a").await;
    desk.delete(&Layer::Base, &lesson(3)).await;
    assert_eq!((stamp(&desk).await, rows(&desk, 0).await), before);
}

/// The rows above a version are exactly those changed after it.
pub async fn rows_above_a_version_are_exactly_the_newer_ones(setup: &Setup) {
    let desk = Desk::new(setup);
    for n in 0..4 {
        desk.put(&Layer::Base, &lesson(n), format!("{n}").as_bytes()).await;
    }
    let all = rows(&desk, 0).await;
    assert_eq!(all.len(), 4);
    for (n, row) in all.iter().enumerate() {
        assert_eq!(row.path, lesson(n).as_str());
        assert_eq!((row.item.hash, row.item.size), (ContentHash::of(format!("{n}").as_bytes()), 1));
        assert_eq!(rows(&desk, row.item.version).await, all[n + 1..], "above its own version it is not");
    }
    let mark = stamp(&desk).await.highest;
    assert_eq!(rows(&desk, mark).await, vec![]);
    desk.put(&Layer::Base, &lesson(1), b"new").await;
    desk.delete(&Layer::Base, &lesson(2)).await;
    desk.put(&Layer::Base, &lesson(9), b"new").await;
    let newer: Vec<_> = rows(&desk, mark).await.into_iter().map(|row| row.path).collect();
    assert_eq!(newer, [lesson(1).as_str(), lesson(9).as_str()]);
}

/// A kept manifest is given back as it was kept, to its own book only.
pub async fn a_kept_manifest_is_given_back_to_its_book(setup: &Setup) {
    let desk = Desk::new(setup);
    desk.put(&Layer::Base, &lesson(1), b"a").await;
    let (hash, encoded) = (ContentHash::of(b"manifest"), [0, 1, 255, 0, 7]);
    let kept = || desk.journal.kept(&desk.book, hash);
    assert_eq!(kept().await.unwrap(), None);
    desk.journal.keep(&desk.book, hash, &encoded).await.unwrap();
    desk.journal.keep(&desk.book, hash, &encoded).await.unwrap();
    assert_eq!(kept().await.unwrap(), Some(encoded.to_vec()));
    assert_eq!(desk.journal.kept(&book(), hash).await.unwrap(), None);
    assert_eq!(desk.journal.kept(&desk.book, ContentHash::of(b"other")).await.unwrap(), None);
}
