//! Contract tests of garbage collection, by the protocol in the model's `gc`. Every test runs
//! alone, because a collection removes from all books.

use std::time::Duration;

use panaversity_model::blob::Blob;
use panaversity_model::change::Verdict;
use panaversity_model::gc::{Condemned, PurgeOutcome, RetentionCutoffs, Staged};
use panaversity_model::{ContentHash, Layer, Timestamp, View};

use super::Setup;
use super::fixture::ContractFixture;
use crate::samples::{inline, lesson, object, staging, write_staged};

/// The database's time, slightly later than anything it has stamped so far.
async fn now(fixture: &ContractFixture) -> Timestamp {
    fixture.journal.now().await.unwrap().after(Duration::from_millis(5))
}

/// Condemns every blob that can be condemned now.
async fn condemn(fixture: &ContractFixture) -> Vec<Condemned> {
    let (since, mut after, mut all) = (now(fixture).await, None, Vec::new());
    loop {
        let sentence = fixture.journal.condemn(since, after, 2).await.unwrap();
        all.extend(sentence.condemned);
        after = sentence.next;
        if after.is_none() {
            return all;
        }
    }
}

async fn condemn_one(fixture: &ContractFixture, hash: ContentHash) -> Condemned {
    condemn(fixture).await.into_iter().find(|condemned| condemned.hash == hash).unwrap()
}

async fn purge(fixture: &ContractFixture, condemned: Condemned) -> PurgeOutcome {
    fixture.journal.purge(&[condemned]).await.unwrap()[0]
}

async fn forget(fixture: &ContractFixture) -> u64 {
    let (since, mut gone) = (now(fixture).await, 0);
    loop {
        match fixture.journal.forget_versions(since, 2).await.unwrap() {
            0 => return gone,
            some => gone += some,
        }
    }
}

/// A blob in an object that was written and deleted, and whose version was removed.
async fn let_go(fixture: &ContractFixture, n: usize) -> Blob {
    let blob = object(format!("{} {n}", fixture.book).as_bytes());
    fixture.put_object(&lesson(n), &blob).await;
    fixture.delete(&Layer::Base, &lesson(n)).await;
    forget(fixture).await;
    blob
}

/// I9: a blob that a file or a retained version names is never condemned, whatever its age.
pub async fn i9_what_a_version_names_is_never_condemned(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (held, old) = (object(fixture.book.as_str().as_bytes()), format!("{} old", fixture.book));
    fixture.put_object(&lesson(1), &held).await;
    fixture.put(&Layer::Base, &lesson(2), old.as_bytes()).await;
    fixture.put(&Layer::Base, &lesson(2), b"new").await;
    let named = [held.hash, inline(old.as_bytes()).hash, inline(b"new").hash];
    assert!(condemn(&fixture).await.iter().all(|condemned| !named.contains(&condemned.hash)));
    forget(&fixture).await;
    let condemned = condemn(&fixture).await;
    let gone: Vec<_> = named.map(|hash| condemned.iter().any(|condemned| condemned.hash == hash)).into();
    assert_eq!(gone, [false, true, false], "only the superseded one");
    assert!(fixture.find(&View::base(), &lesson(1)).await.is_some());
}

/// I9: a staged blob is left alone while its object is put.
pub async fn i9_a_staged_blob_is_left_alone_until_somebody_committed_to_it(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let blob = object(fixture.book.as_str().as_bytes());
    let staging = fixture.stage(&blob).await;
    assert!(condemn(&fixture).await.iter().all(|condemned| condemned.hash != blob.hash));
    fixture.commit_one(&Layer::Base, write_staged(&lesson(1), &blob, staging)).await;
    fixture.delete(&Layer::Base, &lesson(1)).await;
    assert!(
        condemn(&fixture).await.iter().all(|condemned| condemned.hash != blob.hash),
        "its version is kept"
    );
    forget(&fixture).await;
    let condemned = condemn_one(&fixture, blob.hash).await;
    assert_eq!((condemned.size, condemned.in_object), (blob.size, true));
    assert!(
        condemn(&fixture).await.iter().all(|other| other.hash != blob.hash),
        "one gc leaves it to the other"
    );
}

/// I9: writers leave a condemned blob alone until its row is purged.
pub async fn i9_a_condemned_blob_is_not_staged_until_it_is_buried(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let blob = let_go(&fixture, 1).await;
    let condemned = condemn_one(&fixture, blob.hash).await;
    assert_eq!(fixture.journal.stage(&blob, staging()).await.unwrap(), Staged::BeingDeleted);
    let other = Condemned { until: condemned.until.after(Duration::from_secs(1)), ..condemned };
    assert_eq!(purge(&fixture, other).await, PurgeOutcome::TooLate, "it is not the other's");
    assert_eq!(fixture.journal.stage(&blob, staging()).await.unwrap(), Staged::BeingDeleted);
    assert_eq!(purge(&fixture, condemned).await, PurgeOutcome::Purged);
    assert_eq!(fixture.journal.blobs(&[blob.hash]).await.unwrap(), []);
    assert_eq!(purge(&fixture, condemned).await, PurgeOutcome::TooLate);
    let mine = staging();
    assert_eq!(fixture.journal.stage(&blob, mine).await.unwrap(), Staged::Ready(mine));
    assert_eq!(purge(&fixture, condemned).await, PurgeOutcome::TooLate, "the row is a writer's now");
    fixture.commit_one(&Layer::Base, write_staged(&lesson(1), &blob, mine)).await;
}

/// I9: a commit with a staging from before the row was condemned is refused, also when the blob was
/// staged again afterwards.
pub async fn i9_a_commit_refuses_a_staging_that_ended(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let blob = object(fixture.book.as_str().as_bytes());
    let early = fixture.stage(&blob).await;
    fixture.commit_one(&Layer::Base, write_staged(&lesson(1), &blob, early)).await;
    fixture.delete(&Layer::Base, &lesson(1)).await;
    forget(&fixture).await;
    let ask = async || {
        fixture.try_commit(&Layer::Base, vec![write_staged(&lesson(2), &blob, early)]).await.unwrap()
    };
    let condemned = condemn_one(&fixture, blob.hash).await;
    assert_eq!(ask().await, Verdict::Unstaged, "condemned");
    purge(&fixture, condemned).await;
    assert_eq!(ask().await, Verdict::Unstaged, "gone");
    assert_eq!(fixture.journal.blobs(&[blob.hash]).await.unwrap(), [], "a refused commit makes no row");
    let late = fixture.stage(&blob).await;
    assert_eq!(ask().await, Verdict::Unstaged, "staged by another, whose object need not be put yet");
    fixture.commit_one(&Layer::Base, write_staged(&lesson(2), &blob, late)).await;
}

/// I9: a `gc` that died blocks nobody forever: writers and other `gc` runs take its rows over.
pub async fn i9_a_guard_that_has_ended_is_taken_over(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (first, second) = (let_go(&fixture, 1).await, let_go(&fixture, 2).await);
    let condemned = condemn(&fixture).await;
    let of = |blob: &Blob| *condemned.iter().find(|condemned| condemned.hash == blob.hash).unwrap();
    if !setup.expire_leases().await {
        return;
    }
    fixture.put_object(&lesson(1), &first).await;
    assert_eq!(purge(&fixture, of(&first)).await, PurgeOutcome::TooLate);
    assert_eq!(fixture.find(&View::base(), &lesson(1)).await.unwrap().blob.blob, first);
    let again = condemn_one(&fixture, second.hash).await;
    assert_ne!(again.until, of(&second).until);
    assert_eq!(purge(&fixture, of(&second)).await, PurgeOutcome::TooLate);
    assert_eq!(purge(&fixture, again).await, PurgeOutcome::Purged);
}

/// I9: of several blobs each is purged or not by its own state and guard.
pub async fn i9_several_blobs_are_purged_each_by_its_own_guard(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    for n in 1..4 {
        let_go(&fixture, n).await;
    }
    let mut condemned = condemn(&fixture).await;
    let text = |n: usize| format!("{} {n}", fixture.book).into_bytes();
    let of = |n: usize| ContentHash::of(&text(n));
    condemned.retain(|one| (1..4).any(|n| one.hash == of(n)));
    fixture.put(&Layer::Base, &lesson(2), &text(2)).await;
    for one in condemned.iter_mut().filter(|one| one.hash == of(3)) {
        one.until = one.until.after(Duration::from_secs(1));
    }
    let outcomes = fixture.journal.purge(&condemned).await.unwrap();
    let outcome = |n: usize| outcomes[condemned.iter().position(|one| one.hash == of(n)).unwrap()];
    assert_eq!([1, 2, 3].map(outcome), [PurgeOutcome::Purged, PurgeOutcome::Revived, PurgeOutcome::TooLate]);
    assert_eq!(fixture.journal.purge(&[]).await.unwrap(), []);
}

/// I9: bytes that are written inline need no object; the row stays, and its guard is lifted.
pub async fn i9_bytes_that_come_inline_revive_a_condemned_blob(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let blob = let_go(&fixture, 1).await;
    let text = format!("{} 1", fixture.book);
    let condemned = condemn_one(&fixture, blob.hash).await;
    fixture.put(&Layer::Base, &lesson(1), text.as_bytes()).await;
    assert_eq!(fixture.journal.stage(&blob, staging()).await.unwrap(), Staged::BeingDeleted, "still");
    assert_eq!(purge(&fixture, condemned).await, PurgeOutcome::Revived);
    assert_eq!(fixture.read(&View::base(), &lesson(1)).await, Some(text.into_bytes()));
    fixture.stage(&blob).await;
}

/// I9: an object without a row gets one before it is deleted, so that its writer waits.
pub async fn i9_an_object_without_a_row_is_guarded_like_any_other(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let blob = object(fixture.book.as_str().as_bytes());
    let condemned = fixture.journal.condemn_unknown(blob.hash, blob.size).await.unwrap().unwrap();
    assert!(condemned.in_object);
    assert_eq!(fixture.journal.condemn_unknown(blob.hash, blob.size).await.unwrap(), None);
    assert_eq!(fixture.journal.stage(&blob, staging()).await.unwrap(), Staged::BeingDeleted);
    assert_eq!(purge(&fixture, condemned).await, PurgeOutcome::Purged);
    fixture.put_object(&lesson(1), &blob).await;
    assert_eq!(fixture.journal.condemn_unknown(blob.hash, blob.size).await.unwrap(), None, "it has a row");
    assert_eq!(fixture.find(&View::base(), &lesson(1)).await.unwrap().blob.blob, blob);
}

/// Only versions that were superseded long enough ago are removed; the newest stays.
pub async fn only_superseded_versions_are_let_go(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    forget(&fixture).await;
    let hash = |text: &[u8]| ContentHash::of(text);
    for text in [b"a", b"b", b"c"] {
        fixture.put(&Layer::Base, &lesson(1), text).await;
    }
    fixture.put(&Layer::Base, &lesson(2), b"gone").await;
    fixture.delete(&Layer::Base, &lesson(2)).await;
    let before = fixture.journal.now().await.unwrap().before(Duration::from_hours(1));
    assert_eq!(fixture.journal.forget_versions(before, 99).await.unwrap(), 0, "they are too young");
    assert!(fixture.version(&View::base(), &lesson(1), hash(b"a")).await.is_some());
    assert_eq!(forget(&fixture).await, 3);
    for (path, text, kept) in
        [(1, b"a".as_slice(), false), (1, b"b", false), (1, b"c", true), (2, b"gone", false)]
    {
        assert_eq!(fixture.version(&View::base(), &lesson(path), hash(text)).await.is_some(), kept, "{path}");
    }
    assert_eq!(fixture.read(&View::base(), &lesson(1)).await, Some(b"c".to_vec()));
}

/// A version that a manifest names is kept until the pinned time; then manifest and version are
/// removed.
pub async fn what_a_manifest_names_is_kept_until_it_is_let_go(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (old, manifest) = (ContentHash::of(b"old"), ContentHash::of(b"manifest"));
    fixture.put(&Layer::Base, &lesson(1), b"old").await;
    fixture.journal.keep(&fixture.book, manifest, b"encoded").await.unwrap();
    fixture.put(&Layer::Base, &lesson(1), b"new").await;
    let mut kept = fixture.journal.kept_manifests(None, 9_999).await.unwrap();
    kept.retain(|kept| kept.book == fixture.book);
    assert_eq!((kept.len(), kept[0].hash, kept[0].encoded.as_slice()), (1, manifest, b"encoded".as_slice()));
    let after = fixture.journal.kept_manifests(Some((&fixture.book, manifest)), 1).await.unwrap();
    assert!(after.iter().all(|kept| kept.book > fixture.book));

    let now = now(&fixture).await;
    let path = lesson(1);
    fixture
        .journal
        .pin(&fixture.book, now.after(Duration::from_hours(1)), &[(path.as_str(), old)])
        .await
        .unwrap();
    fixture
        .journal
        .pin(&fixture.book, now.before(Duration::from_hours(1)), &[(path.as_str(), old)])
        .await
        .unwrap();
    forget(&fixture).await;
    assert!(fixture.version(&View::base(), &path, old).await.is_some(), "the later moment counts");
    fixture.journal.forget_manifests(now.before(Duration::from_hours(1))).await.unwrap();
    assert!(fixture.journal.kept(&fixture.book, manifest).await.unwrap().is_some(), "named a moment ago");
    assert!(fixture.journal.forget_manifests(now).await.unwrap() >= 1);
    assert_eq!(fixture.journal.kept(&fixture.book, manifest).await.unwrap(), None);
}

/// A survey counts everything that would be removed, also what only its own first steps would make
/// removable.
pub async fn a_survey_tells_what_would_go(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    forget(&fixture).await;
    condemn(&fixture).await;
    let survey = async || {
        let since = now(&fixture).await;
        fixture.journal.survey(RetentionCutoffs { unused_since: since, unnamed_since: since }).await.unwrap()
    };
    let before = survey().await;
    let text = format!("{} old", fixture.book);
    fixture.put(&Layer::Base, &lesson(1), text.as_bytes()).await;
    assert_eq!(survey().await, before);
    fixture.put(&Layer::Base, &lesson(1), b"new").await;
    fixture.journal.keep(&fixture.book, ContentHash::of(b"m"), b"encoded").await.unwrap();
    let after = survey().await;
    assert_eq!(
        (after.versions, after.blobs, after.manifests),
        (before.versions + 1, before.blobs + 1, before.manifests + 1)
    );
    assert_eq!(after.bytes, before.bytes + text.len() as u64);
    assert_eq!(forget(&fixture).await, 1);
    assert_eq!(condemn(&fixture).await.len(), 1, "as many as were announced");
}
