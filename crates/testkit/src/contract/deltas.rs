//! Contract tests of deltas: the changes since a given time. R5, and the guarantee that a client
//! which continues from `complete_until` misses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use panaversity_model::delta::{ChangedFile, Delta, Shown};
use panaversity_model::{BookPath, ContentHash, Layer, Timestamp, View};

use super::Setup;
use super::fixture::{ContractFixture, run_concurrently};
use crate::samples::{draft, lesson, overlay, view};

async fn page(
    fixture: &ContractFixture,
    view: &View,
    since: Timestamp,
    after: Option<&BookPath>,
    limit: usize,
) -> Delta {
    fixture.journal.changed(&fixture.book, view, since, after, limit).await.unwrap()
}

async fn delta(fixture: &ContractFixture, view: &View, since: Timestamp) -> Delta {
    let delta = page(fixture, view, since, None, 10_000).await;
    assert_eq!(delta.total, delta.files.len());
    delta
}

/// A time between the changes so far and the next ones.
async fn from_here(fixture: &ContractFixture) -> Timestamp {
    // SQLite's clock has milliseconds, and a change of this one would be told again.
    let began = fixture.journal.now().await.unwrap();
    loop {
        let until = delta(fixture, &View::base(), Timestamp::default()).await.complete_until;
        if until > began {
            return until;
        }
    }
}

/// The files of a delta, each as its hash, or as the layer in which it was deleted.
fn told(delta: &Delta) -> Vec<(BookPath, Result<ContentHash, Layer>)> {
    let told = |file: &ChangedFile| match &file.now {
        Shown::File(record) => Ok(record.hash),
        Shown::Gone { layer, .. } => Err(layer.clone()),
    };
    delta.files.iter().map(|file| (file.path.clone(), told(file))).collect()
}

fn holds(path: usize, text: &str) -> (BookPath, Result<ContentHash, Layer>) {
    (lesson(path), Ok(ContentHash::of(text.as_bytes())))
}

/// Files that were written, rewritten or deleted since a given time are returned, once each and in
/// their current state.
pub async fn a_delta_names_what_has_changed_and_nothing_else(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let base = Layer::Base;
    for n in 1..=4 {
        fixture.put(&base, &lesson(n), b"one").await;
    }
    let since = from_here(&fixture).await;
    let nothing = delta(&fixture, &View::base(), since).await;
    assert_eq!(nothing.files, vec![], "{since}");
    fixture.put(&base, &lesson(2), b"two").await;
    fixture.put(&base, &lesson(2), b"three").await;
    fixture.delete(&base, &lesson(3)).await;
    fixture.put(&base, &lesson(5), b"new").await;
    fixture.put(&base, &lesson(6), b"passing").await;
    fixture.delete(&base, &lesson(6)).await;
    // Neither a write of the same bytes, nor deleting nothing, nor a read is a change.
    fixture.put(&base, &lesson(1), b"one").await;
    fixture.delete(&base, &lesson(9)).await;
    fixture.journal.append(draft(Some(&fixture.book), Some(&lesson(4)), &base)).await.unwrap();
    let changed = delta(&fixture, &View::base(), since).await;
    let gone = |n| (lesson(n), Err(Layer::Base));
    assert_eq!(told(&changed), [holds(2, "three"), gone(3), holds(5, "new"), gone(6)]);
    for file in &changed.files {
        match &file.now {
            Shown::File(record) => {
                assert_eq!(fixture.find(&View::base(), &file.path).await.unwrap().record, *record);
            }
            Shown::Gone { at, .. } => {
                let entry = fixture.file_chain(&file.path, &base).await.pop().unwrap();
                assert_eq!(entry.timestamp, *at, "it is the time of the deletion");
            }
        }
    }
    let elsewhere = ContractFixture { book: crate::samples::book(), ..fixture.clone() };
    assert_eq!(delta(&elsewhere, &View::base(), Timestamp::default()).await.files, vec![]);
}

/// A change exactly at the given time is included.
pub async fn since_is_inclusive(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    fixture.put(&Layer::Base, &lesson(1), b"one").await;
    let at = fixture.find(&View::base(), &lesson(1)).await.unwrap().record.written_at;
    assert_eq!(told(&delta(&fixture, &View::base(), at).await), [holds(1, "one")]);
    let later = Timestamp::from_micros(at.micros() + 1);
    assert_eq!(delta(&fixture, &View::base(), later).await.files, vec![]);
}

/// R5: a view's delta contains what the view shows: the own overlay above the base, and no other.
pub async fn r5_a_delta_shows_the_view_s_own_overlay_and_no_other(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (base, mine) = (Layer::Base, overlay("owner"));
    for n in 1..=3 {
        fixture.put(&base, &lesson(n), b"base").await;
    }
    for n in [2, 3, 4, 5] {
        fixture.put(&mine, &lesson(n), b"mine").await;
    }
    let since = from_here(&fixture).await;
    fixture.put(&mine, &lesson(1), b"mine").await;
    fixture.put(&base, &lesson(2), b"hidden below mine").await;
    fixture.delete(&mine, &lesson(3)).await;
    fixture.delete(&mine, &lesson(4)).await;
    fixture.put(&base, &lesson(5), b"passing").await;
    fixture.delete(&base, &lesson(5)).await;
    fixture.put(&base, &lesson(6), b"new").await;
    fixture.put(&mine, &lesson(7), b"mine").await;
    fixture.delete(&mine, &lesson(7)).await;
    fixture.put(&base, &lesson(7), b"passing").await;
    fixture.delete(&base, &lesson(7)).await;

    let hers = delta(&fixture, &view(&mine), since).await;
    let expected = [
        holds(1, "mine"),
        holds(3, "base"),
        (lesson(4), Err(mine.clone())),
        holds(6, "new"),
        (lesson(7), Err(Layer::Base)),
    ];
    assert_eq!(told(&hers), expected, "the base shows again; what it does below a file does not show");
    let layers = hers.files.iter().filter_map(|file| match &file.now {
        Shown::File(record) => Some(record.layer.clone()),
        Shown::Gone { .. } => None,
    });
    let layers: Vec<_> = layers.collect();
    assert_eq!(layers, [mine, Layer::Base, Layer::Base]);

    let gone = |n| (lesson(n), Err(Layer::Base));
    let expected = [holds(2, "hidden below mine"), gone(5), holds(6, "new"), gone(7)];
    for stranger in [View::base(), view(&overlay("other"))] {
        assert_eq!(told(&delta(&fixture, &stranger, since).await), expected);
    }
}

/// Pages together are the whole, in bytewise order, each with the number of remaining files.
pub async fn pages_of_a_delta_join_to_the_whole(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let mine = overlay("owner");
    for n in 0..11 {
        fixture.put(&Layer::Base, &lesson(n), b"base").await;
        if n % 3 == 0 {
            fixture.put(&mine, &lesson(n), b"mine").await;
        }
        if n % 4 == 0 {
            fixture.delete(&Layer::Base, &lesson(n)).await;
        }
    }
    for view in [View::base(), view(&mine)] {
        let whole = delta(&fixture, &view, Timestamp::default()).await.files;
        assert_eq!(whole.len(), 11);
        assert!(whole.windows(2).all(|pair| pair[0].path < pair[1].path), "in path order");
        for limit in [1, 4, 11] {
            let (mut files, mut after) = (Vec::<ChangedFile>::new(), None);
            while files.len() < whole.len() {
                let page = page(&fixture, &view, Timestamp::default(), after.as_ref(), limit).await;
                assert_eq!(page.total, whole.len() - files.len());
                assert!(!page.files.is_empty() && page.files.len() <= limit);
                files.extend(page.files);
                after = files.last().map(|file| file.path.clone());
            }
            assert_eq!(files, whole, "limit {limit}");
            assert_eq!(
                page(&fixture, &view, Timestamp::default(), after.as_ref(), limit).await.files,
                vec![]
            );
        }
    }
}

/// A client that follows a book from one `complete_until` to the next gets all changes in the end,
/// however many writers there are meanwhile.
pub async fn who_goes_on_from_complete_until_misses_nothing(setup: &Setup) {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 12;
    let fixture = ContractFixture::new(setup);
    let finished = Arc::new(AtomicUsize::new(0));
    let known = run_concurrently(WRITERS + 1, |task| {
        let (fixture, finished) = (fixture.clone(), finished.clone());
        async move {
            let mut known = BTreeMap::new();
            if task < WRITERS {
                for round in 0..ROUNDS {
                    fixture.put(&Layer::Base, &lesson(task), format!("{task} {round}").as_bytes()).await;
                    if round % 3 == task % 3 {
                        fixture.delete(&Layer::Base, &lesson(task)).await;
                    }
                }
                finished.fetch_add(1, Ordering::SeqCst);
                return known;
            }
            let (mut since, mut last_look) = (Timestamp::default(), false);
            while !last_look {
                last_look = finished.load(Ordering::SeqCst) == WRITERS;
                let delta = delta(&fixture, &View::base(), since).await;
                since = delta.complete_until;
                known.extend(told(&delta));
                // A `TestJournal` never waits by itself.
                tokio::task::yield_now().await;
            }
            known
        }
    })
    .await;
    let known: Vec<_> = known.into_iter().flatten().collect();
    assert_eq!(known, told(&delta(&fixture, &View::base(), Timestamp::default()).await));
}
