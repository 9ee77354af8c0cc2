//! Letting go, by the protocol in the model's `gc`. Every sentence runs alone: what goes goes
//! from all books.

use std::time::Duration;

use panaversity_model::blob::Blob;
use panaversity_model::change::Verdict;
use panaversity_model::gc::{Condemned, PurgeOutcome, RetentionCutoffs, Staged};
use panaversity_model::{ContentHash, Layer, Timestamp, View};

use super::Setup;
use super::desk::Desk;
use crate::samples::{inline, lesson, object, staging, write_staged};

/// The database's time, a moment later than anything it has stamped so far.
async fn now(desk: &Desk) -> Timestamp {
    desk.journal.now().await.unwrap().after(Duration::from_millis(5))
}

/// Everything that can be condemned now.
async fn condemn(desk: &Desk) -> Vec<Condemned> {
    let (since, mut after, mut all) = (now(desk).await, None, Vec::new());
    loop {
        let sentence = desk.journal.condemn(since, after, 2).await.unwrap();
        all.extend(sentence.condemned);
        after = sentence.next;
        if after.is_none() {
            return all;
        }
    }
}

async fn condemn_one(desk: &Desk, hash: ContentHash) -> Condemned {
    condemn(desk).await.into_iter().find(|condemned| condemned.hash == hash).unwrap()
}

async fn forget(desk: &Desk) -> u64 {
    let (since, mut gone) = (now(desk).await, 0);
    loop {
        match desk.journal.forget_versions(since, 2).await.unwrap() {
            0 => return gone,
            some => gone += some,
        }
    }
}

/// A blob in an object that was written and deleted, and whose version was let go.
async fn let_go(desk: &Desk, n: usize) -> Blob {
    let blob = object(format!("{} {n}", desk.book).as_bytes());
    desk.put_object(&lesson(n), &blob).await;
    desk.delete(&Layer::Base, &lesson(n)).await;
    forget(desk).await;
    blob
}

/// I9: what a file or a retained version names is never condemned, whatever its age.
pub async fn i9_what_a_version_names_is_never_condemned(setup: &Setup) {
    let desk = Desk::new(setup);
    let (held, old) = (object(desk.book.as_str().as_bytes()), format!("{} old", desk.book));
    desk.put_object(&lesson(1), &held).await;
    desk.put(&Layer::Base, &lesson(2), old.as_bytes()).await;
    desk.put(&Layer::Base, &lesson(2), b"new").await;
    let named = [held.hash, inline(old.as_bytes()).hash, inline(b"new").hash];
    assert!(condemn(&desk).await.iter().all(|condemned| !named.contains(&condemned.hash)));
    forget(&desk).await;
    let condemned = condemn(&desk).await;
    let gone: Vec<_> = named.map(|hash| condemned.iter().any(|condemned| condemned.hash == hash)).into();
    assert_eq!(gone, [false, true, false], "only the superseded one");
    assert!(desk.find(&View::base(), &lesson(1)).await.is_some());
}

/// I9: a staged blob is left alone while its object is put.
pub async fn i9_a_staged_blob_is_left_alone_until_somebody_committed_to_it(setup: &Setup) {
    let desk = Desk::new(setup);
    let blob = object(desk.book.as_str().as_bytes());
    let staging = desk.stage(&blob).await;
    assert!(condemn(&desk).await.iter().all(|condemned| condemned.hash != blob.hash));
    desk.commit_one(&Layer::Base, write_staged(&lesson(1), &blob, staging)).await;
    desk.delete(&Layer::Base, &lesson(1)).await;
    assert!(condemn(&desk).await.iter().all(|condemned| condemned.hash != blob.hash), "its version is kept");
    forget(&desk).await;
    let condemned = condemn_one(&desk, blob.hash).await;
    assert_eq!((condemned.size, condemned.in_object), (blob.size, true));
    assert!(
        condemn(&desk).await.iter().all(|other| other.hash != blob.hash),
        "one gc leaves it to the other"
    );
}

/// I9: writers leave a condemned blob alone until its row is gone.
pub async fn i9_a_condemned_blob_is_not_staged_until_it_is_buried(setup: &Setup) {
    let desk = Desk::new(setup);
    let blob = let_go(&desk, 1).await;
    let condemned = condemn_one(&desk, blob.hash).await;
    assert_eq!(desk.journal.stage(&blob, staging()).await.unwrap(), Staged::BeingDeleted);
    let other = Condemned { until: condemned.until.after(Duration::from_secs(1)), ..condemned };
    assert_eq!(desk.journal.purge(&other).await.unwrap(), PurgeOutcome::TooLate, "it is not the other's");
    assert_eq!(desk.journal.stage(&blob, staging()).await.unwrap(), Staged::BeingDeleted);
    assert_eq!(desk.journal.purge(&condemned).await.unwrap(), PurgeOutcome::Purged);
    assert_eq!(desk.journal.blobs(&[blob.hash]).await.unwrap(), []);
    assert_eq!(desk.journal.purge(&condemned).await.unwrap(), PurgeOutcome::TooLate);
    let mine = staging();
    assert_eq!(desk.journal.stage(&blob, mine).await.unwrap(), Staged::Ready(mine));
    assert_eq!(
        desk.journal.purge(&condemned).await.unwrap(),
        PurgeOutcome::TooLate,
        "the row is a writer's now"
    );
    desk.commit_one(&Layer::Base, write_staged(&lesson(1), &blob, mine)).await;
}

/// I9: who staged before a row was condemned can't commit to what was staged after it.
pub async fn i9_a_commit_refuses_a_staging_that_ended(setup: &Setup) {
    let desk = Desk::new(setup);
    let blob = object(desk.book.as_str().as_bytes());
    let early = desk.stage(&blob).await;
    desk.commit_one(&Layer::Base, write_staged(&lesson(1), &blob, early)).await;
    desk.delete(&Layer::Base, &lesson(1)).await;
    forget(&desk).await;
    let ask =
        async || desk.try_commit(&Layer::Base, vec![write_staged(&lesson(2), &blob, early)]).await.unwrap();
    let condemned = condemn_one(&desk, blob.hash).await;
    assert_eq!(ask().await, Verdict::Unstaged, "condemned");
    desk.journal.purge(&condemned).await.unwrap();
    assert_eq!(ask().await, Verdict::Unstaged, "gone");
    assert_eq!(desk.journal.blobs(&[blob.hash]).await.unwrap(), [], "a refused commit makes no row");
    let late = desk.stage(&blob).await;
    assert_eq!(ask().await, Verdict::Unstaged, "staged by another, whose object need not be put yet");
    desk.commit_one(&Layer::Base, write_staged(&lesson(2), &blob, late)).await;
}

/// I9: a `gc` that died keeps nobody waiting for ever: writers and other `gc`s take its rows over.
pub async fn i9_a_guard_that_has_ended_is_taken_over(setup: &Setup) {
    let desk = Desk::new(setup);
    let (first, second) = (let_go(&desk, 1).await, let_go(&desk, 2).await);
    let condemned = condemn(&desk).await;
    let of = |blob: &Blob| *condemned.iter().find(|condemned| condemned.hash == blob.hash).unwrap();
    if !setup.expire_leases().await {
        return;
    }
    desk.put_object(&lesson(1), &first).await;
    assert_eq!(desk.journal.purge(&of(&first)).await.unwrap(), PurgeOutcome::TooLate);
    assert_eq!(desk.find(&View::base(), &lesson(1)).await.unwrap().blob.blob, first);
    let again = condemn_one(&desk, second.hash).await;
    assert_ne!(again.until, of(&second).until);
    assert_eq!(desk.journal.purge(&of(&second)).await.unwrap(), PurgeOutcome::TooLate);
    assert_eq!(desk.journal.purge(&again).await.unwrap(), PurgeOutcome::Purged);
}

/// I9: bytes that come inline need no object; the row lives on, and its guard is lifted.
pub async fn i9_bytes_that_come_inline_revive_a_condemned_blob(setup: &Setup) {
    let desk = Desk::new(setup);
    let blob = let_go(&desk, 1).await;
    let text = format!("{} 1", desk.book);
    let condemned = condemn_one(&desk, blob.hash).await;
    desk.put(&Layer::Base, &lesson(1), text.as_bytes()).await;
    assert_eq!(desk.journal.stage(&blob, staging()).await.unwrap(), Staged::BeingDeleted, "still");
    assert_eq!(desk.journal.purge(&condemned).await.unwrap(), PurgeOutcome::Revived);
    assert_eq!(desk.read(&View::base(), &lesson(1)).await, Some(text.into_bytes()));
    desk.stage(&blob).await;
}

/// I9: an object without a row gets one before it is deleted, so that its writer waits.
pub async fn i9_an_object_without_a_row_is_guarded_like_any_other(setup: &Setup) {
    let desk = Desk::new(setup);
    let blob = object(desk.book.as_str().as_bytes());
    let condemned = desk.journal.condemn_unknown(blob.hash, blob.size).await.unwrap().unwrap();
    assert!(condemned.in_object);
    assert_eq!(desk.journal.condemn_unknown(blob.hash, blob.size).await.unwrap(), None);
    assert_eq!(desk.journal.stage(&blob, staging()).await.unwrap(), Staged::BeingDeleted);
    assert_eq!(desk.journal.purge(&condemned).await.unwrap(), PurgeOutcome::Purged);
    desk.put_object(&lesson(1), &blob).await;
    assert_eq!(desk.journal.condemn_unknown(blob.hash, blob.size).await.unwrap(), None, "it has a row");
    assert_eq!(desk.find(&View::base(), &lesson(1)).await.unwrap().blob.blob, blob);
}

/// Only versions that were superseded long enough ago are let go; the newest stays.
pub async fn only_superseded_versions_are_let_go(setup: &Setup) {
    let desk = Desk::new(setup);
    forget(&desk).await;
    let hash = |text: &[u8]| ContentHash::of(text);
    for text in [b"a", b"b", b"c"] {
        desk.put(&Layer::Base, &lesson(1), text).await;
    }
    desk.put(&Layer::Base, &lesson(2), b"gone").await;
    desk.delete(&Layer::Base, &lesson(2)).await;
    let before = desk.journal.now().await.unwrap().before(Duration::from_hours(1));
    assert_eq!(desk.journal.forget_versions(before, 99).await.unwrap(), 0, "they are too young");
    assert!(desk.version(&View::base(), &lesson(1), hash(b"a")).await.is_some());
    assert_eq!(forget(&desk).await, 3);
    for (path, text, kept) in
        [(1, b"a".as_slice(), false), (1, b"b", false), (1, b"c", true), (2, b"gone", false)]
    {
        assert_eq!(desk.version(&View::base(), &lesson(path), hash(text)).await.is_some(), kept, "{path}");
    }
    assert_eq!(desk.read(&View::base(), &lesson(1)).await, Some(b"c".to_vec()));
}

/// What a manifest names is kept until the moment that was told; then manifest and version go.
pub async fn what_a_manifest_names_is_kept_until_it_is_let_go(setup: &Setup) {
    let desk = Desk::new(setup);
    let (old, manifest) = (ContentHash::of(b"old"), ContentHash::of(b"manifest"));
    desk.put(&Layer::Base, &lesson(1), b"old").await;
    desk.journal.keep(&desk.book, manifest, b"encoded").await.unwrap();
    desk.put(&Layer::Base, &lesson(1), b"new").await;
    let mut kept = desk.journal.kept_manifests(None, 9_999).await.unwrap();
    kept.retain(|kept| kept.book == desk.book);
    assert_eq!((kept.len(), kept[0].hash, kept[0].encoded.as_slice()), (1, manifest, b"encoded".as_slice()));
    let after = desk.journal.kept_manifests(Some((&desk.book, manifest)), 1).await.unwrap();
    assert!(after.iter().all(|kept| kept.book > desk.book));

    let now = now(&desk).await;
    let path = lesson(1);
    desk.journal.pin(&desk.book, now.after(Duration::from_hours(1)), &[(path.as_str(), old)]).await.unwrap();
    desk.journal.pin(&desk.book, now.before(Duration::from_hours(1)), &[(path.as_str(), old)]).await.unwrap();
    forget(&desk).await;
    assert!(desk.version(&View::base(), &path, old).await.is_some(), "the later moment counts");
    desk.journal.forget_manifests(now.before(Duration::from_hours(1))).await.unwrap();
    assert!(desk.journal.kept(&desk.book, manifest).await.unwrap().is_some(), "named a moment ago");
    assert!(desk.journal.forget_manifests(now).await.unwrap() >= 1);
    assert_eq!(desk.journal.kept(&desk.book, manifest).await.unwrap(), None);
}

/// A survey counts what would go, also what only its own first steps would set free.
pub async fn a_survey_tells_what_would_go(setup: &Setup) {
    let desk = Desk::new(setup);
    forget(&desk).await;
    condemn(&desk).await;
    let survey = async || {
        let since = now(&desk).await;
        desk.journal.survey(RetentionCutoffs { unused_since: since, unnamed_since: since }).await.unwrap()
    };
    let before = survey().await;
    let text = format!("{} old", desk.book);
    desk.put(&Layer::Base, &lesson(1), text.as_bytes()).await;
    assert_eq!(survey().await, before);
    desk.put(&Layer::Base, &lesson(1), b"new").await;
    desk.journal.keep(&desk.book, ContentHash::of(b"m"), b"encoded").await.unwrap();
    let after = survey().await;
    assert_eq!(
        (after.versions, after.blobs, after.manifests),
        (before.versions + 1, before.blobs + 1, before.manifests + 1)
    );
    assert_eq!(after.bytes, before.bytes + text.len() as u64);
    assert_eq!(forget(&desk).await, 1);
    assert_eq!(condemn(&desk).await.len(), 1, "as many as were announced");
}
