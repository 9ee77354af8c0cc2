//! Contract tests of uploads: their rows, and that a commit completes one exactly once.

use std::time::Duration;

use panaversity_model::change::{ChangeSet, Verdict};
use panaversity_model::ids::UploadId;
use panaversity_model::precondition::Effect;
use panaversity_model::upload::{Announced, Completion};
use panaversity_model::{BookPath, ContentHash, Layer, Timestamp};

use super::Setup;
use super::fixture::{ContractFixture, run_concurrently};
use crate::samples::{agent, change_set, delete, inline, object, path, upload_id, write, write_staged};

const HOUR: Duration = Duration::from_hours(1);

fn asset() -> BookPath {
    path("static/img/cover.png")
}

fn announced(fixture: &ContractFixture) -> Announced {
    Announced {
        id: upload_id(),
        book: fixture.book.clone(),
        path: asset(),
        agent: agent("tester"),
        size: 7,
        sha256: None,
        expected: None,
    }
}

async fn opened(fixture: &ContractFixture, valid_for: Duration) -> UploadId {
    fixture.journal.open_upload(&announced(fixture), valid_for).await.unwrap().announced.id
}

/// A set that completes the upload with these bytes.
fn completing(
    fixture: &ContractFixture,
    id: UploadId,
    bytes: &[u8],
    expected: Option<ContentHash>,
) -> ChangeSet {
    let set = change_set(&fixture.book, &Layer::Base, vec![write(&asset(), bytes, expected)]);
    ChangeSet { upload: Some(id), ..set }
}

async fn complete(fixture: &ContractFixture, id: UploadId, bytes: &[u8]) -> Verdict {
    fixture.journal.commit(completing(fixture, id, bytes, None)).await.unwrap()
}

async fn done(fixture: &ContractFixture, id: UploadId) -> Option<Completion> {
    fixture.journal.upload(id).await.unwrap().unwrap().done
}

fn now_effect(verdict: &Verdict) -> Option<Effect> {
    match verdict {
        Verdict::Committed(applied) => applied.first().map(|applied| applied.effect),
        _ => None,
    }
}

/// An upload is found as it was opened.
pub async fn an_upload_is_found_as_it_was_opened(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let plain = announced(&fixture);
    let full = Announced {
        id: upload_id(),
        size: 5 << 40,
        sha256: Some(ContentHash::of(b"new")),
        expected: Some(ContentHash::of(b"old")),
        ..plain.clone()
    };
    for announced in [plain, full] {
        let upload = fixture.journal.open_upload(&announced, HOUR).await.unwrap();
        assert_eq!((&upload.announced, upload.done), (&announced, None));
        let lives = upload.expires_at.micros() - upload.created_at.micros();
        assert!((lives - 3_600_000_000).abs() < 2_000_000, "an hour, but {lives}");
        assert_eq!(fixture.journal.upload(announced.id).await.unwrap(), Some(upload));
    }
    assert_eq!(fixture.journal.upload(upload_id()).await.unwrap(), None);
}

/// I9: the commit that writes the asset records it in the upload's row; a refused one does not.
pub async fn i9_a_commit_completes_its_upload_or_leaves_it_open(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let id = opened(&fixture, HOUR).await;
    let refused = completing(&fixture, id, b"one", Some(ContentHash::of(b"other")));
    assert!(matches!(fixture.journal.commit(refused).await.unwrap(), Verdict::Refused(0, _)));
    assert_eq!(done(&fixture, id).await, None);
    let unstaged = change_set(
        &fixture.book,
        &Layer::Base,
        vec![write_staged(&asset(), &object(b"x"), crate::samples::staging())],
    );
    let unstaged = ChangeSet { upload: Some(id), ..unstaged };
    assert_eq!(fixture.journal.commit(unstaged).await.unwrap(), Verdict::Unstaged);
    assert_eq!(done(&fixture, id).await, None);
    fixture.assert_untouched().await;

    assert_eq!(now_effect(&complete(&fixture, id, b"one").await), Some(Effect::Created));
    let one = ContentHash::of(b"one");
    assert_eq!(done(&fixture, id).await, Some(Completion { effect: Effect::Created, hash: one }));
    let same = opened(&fixture, HOUR).await;
    assert_eq!(now_effect(&complete(&fixture, same, b"one").await), Some(Effect::Unchanged));
    assert_eq!(done(&fixture, same).await, Some(Completion { effect: Effect::Unchanged, hash: one }));
    let next = opened(&fixture, HOUR).await;
    let set = completing(&fixture, next, b"two", Some(one));
    assert_eq!(now_effect(&fixture.journal.commit(set).await.unwrap()), Some(Effect::Updated));
    let two = inline(b"two").hash;
    assert_eq!(done(&fixture, next).await, Some(Completion { effect: Effect::Updated, hash: two }));
}

/// A completed upload cannot be completed again, whatever the file's content is by then; nor can an
/// unknown one.
pub async fn an_upload_is_completed_once(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let id = opened(&fixture, HOUR).await;
    assert_eq!(complete(&fixture, upload_id(), b"one").await, Verdict::UploadOver);
    fixture.assert_untouched().await;
    assert_eq!(now_effect(&complete(&fixture, id, b"one").await), Some(Effect::Created));
    let first = done(&fixture, id).await;
    for bytes in [b"one", b"two"] {
        assert_eq!(complete(&fixture, id, bytes).await, Verdict::UploadOver);
    }
    fixture.commit_one(&Layer::Base, delete(&asset(), None)).await;
    assert_eq!(complete(&fixture, id, b"one").await, Verdict::UploadOver);
    assert_eq!(fixture.holds(&Layer::Base, &asset()).await, None, "it did not come back");
    assert_eq!(done(&fixture, id).await, first);
    assert_eq!(fixture.file_chain(&asset(), &Layer::Base).await.len(), 2, "nothing else was recorded");
}

/// I8: of concurrent completions exactly one is applied.
pub async fn i8_of_concurrent_completions_exactly_one_is_carried_out(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let id = opened(&fixture, HOUR).await;
    let verdicts = run_concurrently(12, |n| {
        let fixture = fixture.clone();
        async move { complete(&fixture, id, if n % 2 == 0 { b"even" } else { b"odds" }).await }
    })
    .await;
    let carried = verdicts.iter().filter(|verdict| now_effect(verdict).is_some()).count();
    let over = verdicts.iter().filter(|verdict| **verdict == Verdict::UploadOver).count();
    assert_eq!((carried, over), (1, 11), "{verdicts:?}");
    let hash = fixture.holds(&Layer::Base, &asset()).await.unwrap();
    assert_eq!(done(&fixture, id).await, Some(Completion { effect: Effect::Created, hash }));
}

/// An expired upload is listed until it is cleared, and removed only then.
pub async fn an_upload_that_is_over_is_listed_until_it_is_cleared(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let (open, mut over) = (opened(&fixture, HOUR).await, Vec::new());
    for _ in 0..3 {
        over.push(opened(&fixture, Duration::ZERO).await);
    }
    let _ = complete(&fixture, over[1], b"done").await;
    over.sort();
    let now = || async { fixture.journal.now().await.unwrap().after(Duration::from_secs(1)) };
    let listed = async |since: Timestamp| {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = fixture.journal.uploads_over(since, after, 2).await.unwrap();
            assert!(page.len() <= 2);
            let Some(last) = page.last() else { break };
            after = Some(*last);
            all.extend(page);
        }
        all.retain(|id| over.contains(id) || *id == open);
        all
    };
    assert_eq!(listed(now().await).await, over);
    assert_eq!(listed(Timestamp::default()).await, [], "nothing had expired then");
    fixture.journal.forget_uploads(now().await).await.unwrap();
    assert!(fixture.journal.upload(over[0]).await.unwrap().is_some(), "not before it is cleared");

    fixture.journal.clear_uploads(&over[..2]).await.unwrap();
    assert_eq!(listed(now().await).await, over[2..]);
    let mut uncleared = fixture.journal.uncleared(&[over[0], over[2], open, upload_id()]).await.unwrap();
    uncleared.sort();
    let mut due = vec![over[2], open];
    due.sort();
    assert_eq!(uncleared, due);
    assert!(fixture.journal.forget_uploads(now().await).await.unwrap() >= 2);
    assert_eq!(fixture.journal.upload(over[0]).await.unwrap(), None);
    assert_eq!(complete(&fixture, over[0], b"late").await, Verdict::UploadOver);
    assert!(fixture.journal.upload(open).await.unwrap().is_some());
}
