//! Contract tests of the feed: all change sets of a view, each whole and exactly once, in an order that
//! agrees with the history of every file and is the same for all readers. R5.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use panaversity_model::audit::Operation;
use panaversity_model::change::{Change, ChangeMessage, ChangeSet, Verdict};
use panaversity_model::feed::{FeedItem, FeedPage, FeedPosition};
use panaversity_model::ids::ChangeId;
use panaversity_model::precondition::Effect;
use panaversity_model::{BookPath, ContentHash, Layer, View};

use super::Setup;
use super::fixture::{ContractFixture, run_concurrently};
use crate::samples::{self, change_set, delete, draft, inline, lesson, overlay, view, write};

/// Commits a set that must be accepted; returns its id.
async fn commit(fixture: &ContractFixture, layer: &Layer, changes: Vec<Change>) -> ChangeId {
    committed(fixture, change_set(&fixture.book, layer, changes)).await.expect("it is accepted")
}

/// Commits a set; returns its id if it was accepted and changed something. A deletion of what another has
/// deleted changes nothing.
async fn committed(fixture: &ContractFixture, set: ChangeSet) -> Option<ChangeId> {
    let id = set.id;
    let Verdict::Committed(applied) = fixture.journal.commit(set).await.unwrap() else { return None };
    applied.iter().any(|applied| applied.effect != Effect::Unchanged).then_some(id)
}

async fn page(fixture: &ContractFixture, view: &View, after: FeedPosition, limit: usize) -> FeedPage {
    fixture.journal.feed(&fixture.book, view, after, limit).await.unwrap()
}

/// All change sets after a position, read in pages of `limit`, once nothing is held back.
async fn rest(
    fixture: &ContractFixture,
    view: &View,
    mut after: FeedPosition,
    limit: usize,
) -> Vec<FeedItem> {
    let mut items = Vec::new();
    loop {
        let page = page(fixture, view, after, limit).await;
        assert!(page.items.len() <= limit);
        assert!(!page.has_more || !page.items.is_empty(), "a page with a next one has a set");
        assert_eq!(page.next, page.items.last().map_or(after, |item| item.position));
        items.extend(page.items);
        after = page.next;
        if !page.has_more && !page.is_held_back {
            return items;
        }
        // A `TestJournal` never waits by itself.
        tokio::task::yield_now().await;
    }
}

async fn all(fixture: &ContractFixture, view: &View) -> Vec<FeedItem> {
    rest(fixture, view, FeedPosition::start(), 100).await
}

fn ids(items: &[FeedItem]) -> Vec<ChangeId> {
    items.iter().map(|item| item.position.change).collect()
}

fn hash(text: &[u8]) -> ContentHash {
    ContentHash::of(text)
}

/// A set is told with its agent, its message and all its files, and what changed nothing is not told.
pub async fn a_change_set_is_told_whole_with_who_made_it_and_why(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let first = commit(
        &fixture,
        &Layer::Base,
        vec![write(&lesson(2), b"two", None), write(&lesson(1), b"one", None)],
    )
    .await;
    // Neither a write of the same bytes, nor deleting nothing, nor a read is a change.
    let unchanged = vec![write(&lesson(1), b"one", None), delete(&lesson(9), None)];
    assert_eq!(committed(&fixture, change_set(&fixture.book, &Layer::Base, unchanged)).await, None);
    fixture.journal.append(draft(Some(&fixture.book), Some(&lesson(1)), &Layer::Base)).await.unwrap();
    let mut moved = samples::change(&lesson(5), Some(inline(b"one")), None);
    (moved.operation, moved.moved_from) = (Operation::Move, Some(lesson(1)));
    let gone = Change { operation: Operation::Move, ..delete(&lesson(1), Some(hash(b"one"))) };
    let mut merged = write(&lesson(2), b"both", Some(hash(b"two")));
    merged.parents = Some([ContentHash::of(b"a"), ContentHash::of(b"two")]);
    let message = Some(ChangeMessage::parse("tidy up: all").unwrap());
    let set = change_set(&fixture.book, &Layer::Base, vec![merged, gone, moved]);
    let second = committed(&fixture, ChangeSet { message, ..set }).await.unwrap();

    let items = all(&fixture, &View::base()).await;
    assert_eq!(ids(&items), [first, second]);
    assert!(items.iter().all(|item| item.agent == "tester" && item.layer == Layer::Base));
    assert_eq!([&items[0].message, &items[1].message], [&None, &Some("tidy up: all".to_owned())]);
    let files = |item: &FeedItem| -> Vec<_> {
        let files = item.files.iter();
        files.map(|file| (file.path.clone(), file.old, file.new, file.moved_from.clone())).collect()
    };
    let written = |n, text| (lesson(n), None, Some(hash(text)), None);
    assert_eq!(files(&items[0]), [written(1, b"one"), written(2, b"two")]);
    let (gone, both) = (
        (lesson(1), Some(hash(b"one")), None, None),
        (lesson(2), Some(hash(b"two")), Some(hash(b"both")), None),
    );
    assert_eq!(files(&items[1]), [gone, both, (lesson(5), None, Some(hash(b"one")), Some(lesson(1)))]);
    assert_eq!(items[1].operations(), ["MOVE", "WRITE"]);
    let elsewhere = ContractFixture { book: samples::book(), ..fixture.clone() };
    assert_eq!(all(&elsewhere, &View::base()).await, vec![]);
}

/// Pages of any length join to the same sequence, from any position on.
pub async fn pages_of_the_feed_join_to_the_whole(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let mine = overlay("owner");
    let mut made = Vec::new();
    for n in 0..12 {
        let files = (0..=n % 4).map(|file| write(&lesson(10 * n + file), format!("{n}").as_bytes(), None));
        let layer = if n % 3 == 0 { &mine } else { &Layer::Base };
        made.push(commit(&fixture, layer, files.collect()).await);
    }
    let whole = all(&fixture, &view(&mine)).await;
    assert_eq!(ids(&whole).into_iter().collect::<BTreeSet<_>>(), made.into_iter().collect());
    assert!(whole.windows(2).all(|pair| pair[0].position < pair[1].position));
    for limit in [1, 2, 5, 12] {
        assert_eq!(rest(&fixture, &view(&mine), FeedPosition::start(), limit).await, whole, "limit {limit}");
        for (n, item) in whole.iter().enumerate() {
            assert_eq!(rest(&fixture, &view(&mine), item.position, limit).await, whole[n + 1..]);
        }
    }
    let end = fixture.journal.feed_end().await.unwrap();
    assert!(rest(&fixture, &view(&mine), end, 5).await.len() <= whole.len(), "the end is a position");
}

/// A large set is on one page, whatever its length, and so are those before and after it.
pub async fn a_set_of_a_thousand_files_is_on_one_page(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let before = commit(&fixture, &Layer::Base, vec![write(&lesson(0), b"before", None)]).await;
    let files = (0..1_000).map(|n| write(&lesson(n), b"large", (n == 0).then(|| hash(b"before"))));
    let large = commit(&fixture, &Layer::Base, files.collect()).await;
    let after = commit(&fixture, &Layer::Base, vec![write(&lesson(0), b"after", Some(hash(b"large")))]).await;
    for limit in [1, 2, 100] {
        let items = rest(&fixture, &View::base(), FeedPosition::start(), limit).await;
        assert_eq!(ids(&items), [before, large, after], "limit {limit}");
        assert_eq!(items.iter().map(|item| item.files.len()).collect::<Vec<_>>(), [1, 1_000, 1]);
    }
}

/// R5: a view's feed contains the base and its own overlay, and no other.
pub async fn r5_a_feed_shows_the_view_s_own_overlay_and_no_other(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (mine, others) = (overlay("owner"), overlay("other"));
    let mut made = BTreeMap::new();
    for layer in [&Layer::Base, &mine, &others] {
        made.insert(layer.clone(), commit(&fixture, layer, vec![write(&lesson(1), b"text", None)]).await);
    }
    for (view, layers) in [
        (View::base(), vec![&Layer::Base]),
        (view(&mine), vec![&Layer::Base, &mine]),
        (view(&others), vec![&Layer::Base, &others]),
    ] {
        let items = all(&fixture, &view).await;
        let told: BTreeMap<_, _> =
            items.iter().map(|item| (item.layer.clone(), item.position.change)).collect();
        assert_eq!(told, layers.into_iter().map(|layer| (layer.clone(), made[layer])).collect());
    }
}

/// Writers of sets that share files, and readers who follow meanwhile: every acknowledged set is told exactly
/// once, every file's changes in their order, and to all readers the same.
pub async fn all_readers_get_all_sets_once_in_the_order_of_each_file(setup: &Setup) {
    const WRITERS: usize = 6;
    const READERS: usize = 3;
    const ROUNDS: usize = 15;
    let fixture = ContractFixture::new(setup);
    let finished = Arc::new(AtomicUsize::new(0));
    let results = run_concurrently(WRITERS + READERS, |task| {
        let (fixture, finished) = (fixture.clone(), finished.clone());
        async move {
            if task < WRITERS {
                let made = write_sets(&fixture, task, ROUNDS).await;
                finished.fetch_add(1, Ordering::SeqCst);
                return (made, Vec::new());
            }
            let (mut items, mut last_look) = (Vec::<FeedItem>::new(), false);
            while !last_look {
                last_look = finished.load(Ordering::SeqCst) == WRITERS;
                let after = items.last().map_or(FeedPosition::start(), |item| item.position);
                items.extend(if last_look {
                    rest(&fixture, &View::base(), after, task).await
                } else {
                    page(&fixture, &View::base(), after, task).await.items
                });
                tokio::task::yield_now().await;
            }
            (BTreeSet::new(), items)
        }
    })
    .await;
    let made: BTreeSet<ChangeId> = results.iter().flat_map(|(made, _)| made.clone()).collect();
    let whole = all(&fixture, &View::base()).await;
    assert_eq!(whole.len(), made.len(), "each once");
    assert_eq!(ids(&whole).into_iter().collect::<BTreeSet<_>>(), made);
    assert_lineage(&whole);
    for (_, items) in &results[WRITERS..] {
        assert_eq!(ids(items), ids(&whole), "readers get the same");
    }
}

/// Writes sets of two files that other writers change as well; returns those that were accepted.
async fn write_sets(fixture: &ContractFixture, writer: usize, rounds: usize) -> BTreeSet<ChangeId> {
    let mut made = BTreeSet::new();
    for round in 0..rounds {
        let paths = [lesson((writer + round) % 5), lesson(5 + (writer * round) % 5)];
        let mut changes = Vec::new();
        for path in &paths {
            let now = fixture.holds(&Layer::Base, path).await;
            let text = format!("{writer} {round}");
            changes.push(match now {
                Some(now) if round % 7 == 6 => delete(path, Some(now)),
                now => write(path, text.as_bytes(), now),
            });
        }
        made.extend(committed(fixture, change_set(&fixture.book, &Layer::Base, changes)).await);
    }
    made
}

/// Asserts that each change of a file starts from what the last one told left.
fn assert_lineage(items: &[FeedItem]) {
    let mut files: BTreeMap<&BookPath, Option<ContentHash>> = BTreeMap::new();
    for file in items.iter().flat_map(|item| &item.files) {
        let last = files.insert(&file.path, file.new).flatten();
        assert_eq!(last, file.old, "{}", file.path);
    }
}

/// A commit wakes the readers of its book, also those who ask only afterwards whether there was one.
pub async fn a_commit_wakes_the_readers_of_its_book(setup: &Setup) {
    const HANGS: Duration = Duration::from_secs(20);
    let fixture = ContractFixture::new(setup);
    let mut wakes = fixture.journal.wakes(&fixture.book);
    let mut other = fixture.journal.wakes(&samples::book());
    for n in 0..3 {
        commit(&fixture, &Layer::Base, vec![write(&lesson(n), b"text", None)]).await;
        tokio::time::timeout(HANGS, wakes.next()).await.expect("it is woken").unwrap();
    }
    // A server that begins to listen wakes all once.
    while futures::poll!(other.next()).is_ready() {}
}
