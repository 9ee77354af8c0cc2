//! A book, and the calls of a server that works on it.

use std::time::Duration;

use futures::future::join_all;
use panaversity_model::audit::{ChainKey, EntryFilter};
use panaversity_model::blob::BlobState;
use panaversity_model::browsing::ChangeFilter;
use panaversity_model::change::Verdict;
use panaversity_model::feed::FeedPosition;
use panaversity_model::path::{Folder, Prefix};
use panaversity_model::ports::{
    AuditLog, Blobs, Books, Browsing, ChangeFeed, Changes, FileInventory, Files, GarbageCollection,
    Manifests, Publications, Webhooks,
};
use panaversity_model::publication::{Attempt, Publication};
use panaversity_model::webhook::{DeliveryRecord, NewWebhook, WebhookId, WebhookSecret, WebhookUrl};
use panaversity_model::{BookId, ContentHash, Layer, Timestamp, View};
use panaversity_testkit::samples::{
    change_set, delete, draft, key, lease, lesson, object, overlay, path, staging, view, write,
};

use super::SqlJournal;
use crate::webhooks::SqlWebhooks;

/// Number of rows of a page or a list.
const PAGE: usize = 20;

fn content(n: usize) -> Vec<u8> {
    format!("Lesson {n}").into_bytes()
}

/// Commits; returns the publications.
async fn commit(journal: &SqlJournal, set: panaversity_model::change::ChangeSet) -> Vec<Publication> {
    let Verdict::Committed(applied) = journal.commit(set).await.unwrap() else { panic!("it is refused") };
    applied.into_iter().filter_map(|applied| applied.publication).collect()
}

async fn publish(journal: &SqlJournal, publications: Vec<Publication>) {
    join_all(publications.iter().map(|one| journal.acknowledge(one, Attempt::Done))).await;
}

/// Writes a book of this many files, with an overlay and some assets, and publishes it.
pub(super) async fn fill(journal: &SqlJournal, book: &BookId, files: usize) {
    let all: Vec<_> = (0..files).map(|n| write(&lesson(n), &content(n), None)).collect();
    for changes in all.chunks(64) {
        let publications = commit(journal, change_set(book, &Layer::Base, changes.to_vec())).await;
        publish(journal, publications).await;
    }
    let assets = (0..2 * PAGE).map(|n| write(&path(&format!("static/img/{n}.png")), &content(n), None));
    let publications = commit(journal, change_set(book, &Layer::Base, assets.collect())).await;
    publish(journal, publications).await;
    let own = (0..2 * PAGE).map(|n| write(&lesson(n), b"Mine", None));
    let publications = commit(journal, change_set(book, &overlay("ann"), own.collect())).await;
    publish(journal, publications).await;
    // A publisher looks for work all the time, so that few dead entries of the backlog are left.
    journal.claim(&[lease()]).await.unwrap();
}

/// Calls every hot method; tells `done` of each.
pub(super) async fn run(journal: &SqlJournal, book: &BookId, mut done: impl FnMut(&'static str)) {
    let (ann, middle) = (overlay("ann"), lesson(150));
    let (base, of_ann) = (View::base(), view(&ann));
    let since = journal.now().await.unwrap();
    done("");
    macro_rules! call {
        ($method:ident($($argument:expr),*)) => {{
            let result = journal.$method($($argument),*).await.unwrap();
            done(stringify!($method));
            result
        }};
    }
    call!(claim(&[lease()]));
    call!(pending());
    reads(journal, book, &mut done).await;
    for view in [&base, &of_ann] {
        call!(find(book, &middle, view));
        call!(find_overlaid(book, &lesson(3), view));
        call!(list(book, &Folder::content(), view, Some(&middle), PAGE));
        let after = (book.clone(), middle.clone());
        call!(paths(Some(book), &Prefix::parse("content/").unwrap(), view, Some(&after), PAGE));
    }
    for view in [&base, &of_ann] {
        call!(children(book, &Folder::everything(), view, None, PAGE));
        call!(children(book, &Folder::holding(&middle), view, None, PAGE));
    }
    let recent = ChangeFilter {
        book: book.clone(),
        layer: Layer::Base,
        from: Timestamp::from_micros(0),
        to: since,
        change: None,
    };
    call!(change_entries(&recent, PAGE, PAGE));
    let after = (book.clone(), middle.clone());
    call!(paths(None, &Prefix::parse("").unwrap(), &base, Some(&after), PAGE));

    let new = path(&format!("content/02-Part/01-Chapter/01-{}.md", lease()));
    let created = write(&new, b"new", None);
    let publications = commit(journal, change_set(book, &Layer::Base, vec![created])).await;
    done("commit");
    call!(extend_lease(&publications[0], Duration::from_secs(5)));
    call!(acknowledge(&publications[0], Attempt::Done));
    let publications =
        commit(journal, change_set(book, &Layer::Base, vec![delete(&new, Some(ContentHash::of(b"new")))]))
            .await;
    done("commit");
    publish(journal, publications).await;
    done("");
    // There and back, for the next session.
    let other = |n: usize| format!("Changed {n}").into_bytes();
    for page in [150..151, 151..151 + PAGE] {
        let there = page.clone().map(|n| write(&lesson(n), &other(n), Some(ContentHash::of(&content(n)))));
        let publications = commit(journal, change_set(book, &Layer::Base, there.collect())).await;
        done("commit");
        publish(journal, publications).await;
        done("");
        let back = page.map(|n| write(&lesson(n), &content(n), Some(ContentHash::of(&other(n)))));
        let publications = commit(journal, change_set(book, &Layer::Base, back.collect())).await;
        done("commit");
        publish(journal, publications).await;
        done("");
    }
    let publications =
        commit(journal, change_set(book, &ann, vec![write(&lesson(200), b"Mine", None)])).await;
    done("commit");
    publish(journal, publications).await;
    done("");
    let publications =
        commit(journal, change_set(book, &ann, vec![delete(&lesson(200), Some(ContentHash::of(b"Mine")))]))
            .await;
    done("commit");
    publish(journal, publications).await;
    done("");
    call!(append(draft(Some(book), Some(&middle), &Layer::Base)));
    call!(chains_since(since, 100));
    call!(changed(book, &of_ann, since, None, PAGE));
    for view in [&base, &of_ann] {
        call!(feed(book, view, FeedPosition::before(since), PAGE));
    }
    deliveries(journal, book, &mut done).await;
    call!(last_changed(book));
    let unsynced = call!(unsynced(PAGE));
    call!(synced(&unsynced));
}

/// The calls of a dispatcher of webhooks.
async fn deliveries(journal: &SqlJournal, book: &BookId, done: &mut impl FnMut(&'static str)) {
    let webhooks = SqlWebhooks::new(journal.db.clone());
    let new = NewWebhook {
        id: WebhookId::from_random([7; 6]),
        book: book.clone(),
        url: WebhookUrl::parse("https://example.com/").unwrap(),
        secret: WebhookSecret::from_random([7; 32]),
        cursor: FeedPosition::start(),
    };
    webhooks.create_webhook(&new, 10).await.unwrap();
    done("");
    let (lease, time, position) = (lease(), Duration::from_mins(1), FeedPosition::start());
    assert_eq!(webhooks.lease_webhooks(lease, time).await.unwrap().len(), 1);
    done("lease_webhooks");
    assert!(webhooks.lease_webhooks(lease, time).await.unwrap().is_empty());
    done("lease_webhooks");
    assert!(webhooks.extend_webhook_lease(&new.id, lease, time).await.unwrap());
    done("extend_webhook_lease");
    let error = "the answer was 500".to_owned();
    for record in [
        DeliveryRecord::Failed { error: error.clone(), retry_in: time },
        DeliveryRecord::Delivered(position),
        DeliveryRecord::Dead { position, attempts: 43, error, kept: 100 },
    ] {
        assert!(webhooks.record_delivery(&new.id, lease, &record, time).await.unwrap());
        done("record_delivery");
    }
    webhooks.release_webhook(&new.id, lease).await.unwrap();
    done("release_webhook");
    assert_eq!(webhooks.webhooks(PAGE).await.unwrap().dead_letters.len(), 1);
    done("webhooks");
    assert!(webhooks.delete_webhook(&new.id).await.unwrap());
    done("");
}

/// The calls that change no file.
async fn reads(journal: &SqlJournal, book: &BookId, done: &mut impl FnMut(&'static str)) {
    let (base, middle, asset) = (View::base(), lesson(150), path("static/img/3.png"));
    let hash = ContentHash::of(&content(150));
    let keys: Vec<_> = (150..150 + PAGE).map(|n| key(book, &lesson(n), &Layer::Base)).collect();
    let paths: Vec<_> = keys.iter().map(|key| key.path.as_str()).collect();
    let versions: Vec<_> =
        paths.iter().zip(150..).map(|(path, n)| (*path, ContentHash::of(&content(n)))).collect();
    let chains: Vec<ChainKey> =
        (150..150 + PAGE).map(|n| draft(Some(book), Some(&lesson(n)), &Layer::Base).chain()).collect();
    macro_rules! call {
        ($method:ident($($argument:expr),*)) => {{
            let result = journal.$method($($argument),*).await.unwrap();
            done(stringify!($method));
            result
        }};
    }
    call!(book(book));
    call!(find_version(book, &middle, &base, hash));
    call!(current_file(&keys[0]));
    call!(current_metadata(&keys[..1]));
    call!(current_metadata(&keys));
    call!(versions(&keys[0], None, PAGE));
    call!(asset(book, &asset));
    call!(find_asset(book, &asset));
    call!(assets(book, &Folder::assets(), None, PAGE));
    call!(blob_metadata(book, &versions));
    let until = journal.now().await.unwrap().after(Duration::from_hours(1));
    call!(pin(book, until, &versions));
    call!(is_referenced(hash));
    call!(stage(&object(b"staged"), staging()));
    call!(mark(ContentHash::of(b"staged"), BlobState::Live));
    call!(keep(book, hash, b"a manifest"));
    call!(kept(book, hash));
    call!(records(Some(book), Some(&keys[0]), PAGE));
    call!(records_of(&keys));
    call!(conflicting_path(&key(book, &path("content/01-Part/01-Chapter/01-other.md"), &Layer::Base)));
    call!(republish(&keys[..1]));
    call!(files_with_hash(hash, PAGE));
    for layer in [&Layer::Base, &overlay("ann")] {
        let filter =
            EntryFilter { book: Some(book.clone()), layer: Some(layer.clone()), ..EntryFilter::default() };
        call!(entries(&filter, None, PAGE));
    }
    call!(entries(&EntryFilter::default(), None, PAGE));
    call!(chains(Some(&Layer::Base), Some(book), Some(&chains[0]), PAGE));
    call!(chains(None, None, Some(&chains[0]), PAGE));
    call!(chain(&chains[0]));
    call!(chain_entries(&chains[0], None, PAGE));
    call!(entries_of_chains(&chains.iter().collect::<Vec<_>>(), 1_000));
}
