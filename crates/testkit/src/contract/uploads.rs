//! Uploads: their rows, and that a commit completes one exactly once.

use std::time::Duration;

use panaversity_model::change::{ChangeSet, Verdict};
use panaversity_model::ids::UploadId;
use panaversity_model::precondition::Effect;
use panaversity_model::upload::{Announced, Completion};
use panaversity_model::{BookPath, ContentHash, Layer, Timestamp};

use super::Setup;
use super::desk::{Desk, together};
use crate::samples::{agent, change_set, delete, inline, object, path, upload_id, write, write_staged};

const HOUR: Duration = Duration::from_hours(1);

fn asset() -> BookPath {
    path("static/img/cover.png")
}

fn announced(desk: &Desk) -> Announced {
    Announced {
        id: upload_id(),
        book: desk.book.clone(),
        path: asset(),
        agent: agent("tester"),
        size: 7,
        sha256: None,
        expected: None,
    }
}

async fn opened(desk: &Desk, valid_for: Duration) -> UploadId {
    desk.journal.open_upload(&announced(desk), valid_for).await.unwrap().announced.id
}

/// A set that completes the upload with these bytes.
fn completing(desk: &Desk, id: UploadId, bytes: &[u8], expected: Option<ContentHash>) -> ChangeSet {
    let set = change_set(&desk.book, &Layer::Base, vec![write(&asset(), bytes, expected)]);
    ChangeSet { upload: Some(id), ..set }
}

async fn complete(desk: &Desk, id: UploadId, bytes: &[u8]) -> Verdict {
    desk.journal.commit(completing(desk, id, bytes, None)).await.unwrap()
}

async fn done(desk: &Desk, id: UploadId) -> Option<Completion> {
    desk.journal.upload(id).await.unwrap().unwrap().done
}

fn now_effect(verdict: &Verdict) -> Option<Effect> {
    match verdict {
        Verdict::Committed(applied) => applied.first().map(|applied| applied.effect),
        _ => None,
    }
}

/// An upload is found as it was opened.
pub async fn an_upload_is_found_as_it_was_opened(setup: &Setup) {
    let desk = Desk::new(setup);
    let plain = announced(&desk);
    let full = Announced {
        id: upload_id(),
        size: 5 << 40,
        sha256: Some(ContentHash::of(b"new")),
        expected: Some(ContentHash::of(b"old")),
        ..plain.clone()
    };
    for announced in [plain, full] {
        let upload = desk.journal.open_upload(&announced, HOUR).await.unwrap();
        assert_eq!((&upload.announced, upload.done), (&announced, None));
        let lives = upload.expires_at.micros() - upload.created_at.micros();
        assert!((lives - 3_600_000_000).abs() < 2_000_000, "an hour, but {lives}");
        assert_eq!(desk.journal.upload(announced.id).await.unwrap(), Some(upload));
    }
    assert_eq!(desk.journal.upload(upload_id()).await.unwrap(), None);
}

/// I9: the commit that writes the asset notes it in the upload's row; a refused one does not.
pub async fn i9_a_commit_completes_its_upload_or_leaves_it_open(setup: &Setup) {
    let desk = Desk::new(setup);
    let id = opened(&desk, HOUR).await;
    let refused = completing(&desk, id, b"one", Some(ContentHash::of(b"other")));
    assert!(matches!(desk.journal.commit(refused).await.unwrap(), Verdict::Refused(0, _)));
    assert_eq!(done(&desk, id).await, None);
    let unstaged = change_set(
        &desk.book,
        &Layer::Base,
        vec![write_staged(&asset(), &object(b"x"), crate::samples::staging())],
    );
    let unstaged = ChangeSet { upload: Some(id), ..unstaged };
    assert_eq!(desk.journal.commit(unstaged).await.unwrap(), Verdict::Unstaged);
    assert_eq!(done(&desk, id).await, None);
    desk.assert_untouched().await;

    assert_eq!(now_effect(&complete(&desk, id, b"one").await), Some(Effect::Created));
    let one = ContentHash::of(b"one");
    assert_eq!(done(&desk, id).await, Some(Completion { effect: Effect::Created, hash: one }));
    let same = opened(&desk, HOUR).await;
    assert_eq!(now_effect(&complete(&desk, same, b"one").await), Some(Effect::Unchanged));
    assert_eq!(done(&desk, same).await, Some(Completion { effect: Effect::Unchanged, hash: one }));
    let next = opened(&desk, HOUR).await;
    let set = completing(&desk, next, b"two", Some(one));
    assert_eq!(now_effect(&desk.journal.commit(set).await.unwrap()), Some(Effect::Updated));
    let two = inline(b"two").hash;
    assert_eq!(done(&desk, next).await, Some(Completion { effect: Effect::Updated, hash: two }));
}

/// An upload that is done does nothing any more, whatever the file holds by then; nor does one
/// that nobody knows.
pub async fn an_upload_is_completed_once(setup: &Setup) {
    let desk = Desk::new(setup);
    let id = opened(&desk, HOUR).await;
    assert_eq!(complete(&desk, upload_id(), b"one").await, Verdict::UploadOver);
    desk.assert_untouched().await;
    assert_eq!(now_effect(&complete(&desk, id, b"one").await), Some(Effect::Created));
    let first = done(&desk, id).await;
    for bytes in [b"one", b"two"] {
        assert_eq!(complete(&desk, id, bytes).await, Verdict::UploadOver);
    }
    desk.commit_one(&Layer::Base, delete(&asset(), None)).await;
    assert_eq!(complete(&desk, id, b"one").await, Verdict::UploadOver);
    assert_eq!(desk.holds(&Layer::Base, &asset()).await, None, "it did not come back");
    assert_eq!(done(&desk, id).await, first);
    assert_eq!(desk.file_chain(&asset(), &Layer::Base).await.len(), 2, "nothing else was recorded");
}

/// I8: of concurrent completions exactly one is carried out.
pub async fn i8_of_concurrent_completions_exactly_one_is_carried_out(setup: &Setup) {
    let desk = Desk::new(setup);
    let id = opened(&desk, HOUR).await;
    let verdicts = together(12, |n| {
        let desk = desk.clone();
        async move { complete(&desk, id, if n % 2 == 0 { b"even" } else { b"odds" }).await }
    })
    .await;
    let carried = verdicts.iter().filter(|verdict| now_effect(verdict).is_some()).count();
    let over = verdicts.iter().filter(|verdict| **verdict == Verdict::UploadOver).count();
    assert_eq!((carried, over), (1, 11), "{verdicts:?}");
    let hash = desk.holds(&Layer::Base, &asset()).await.unwrap();
    assert_eq!(done(&desk, id).await, Some(Completion { effect: Effect::Created, hash }));
}

/// What has expired is listed until it is cleared, and goes only then.
pub async fn an_upload_that_is_over_is_listed_until_it_is_cleared(setup: &Setup) {
    let desk = Desk::new(setup);
    let (open, mut over) = (opened(&desk, HOUR).await, Vec::new());
    for _ in 0..3 {
        over.push(opened(&desk, Duration::ZERO).await);
    }
    let _ = complete(&desk, over[1], b"done").await;
    over.sort();
    let now = || async { desk.journal.now().await.unwrap().after(Duration::from_secs(1)) };
    let listed = async |since: Timestamp| {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = desk.journal.uploads_over(since, after, 2).await.unwrap();
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
    desk.journal.forget_uploads(now().await).await.unwrap();
    assert!(desk.journal.upload(over[0]).await.unwrap().is_some(), "not before it is cleared");

    desk.journal.clear_uploads(&over[..2]).await.unwrap();
    assert_eq!(listed(now().await).await, over[2..]);
    let mut uncleared = desk.journal.uncleared(&[over[0], over[2], open, upload_id()]).await.unwrap();
    uncleared.sort();
    let mut due = vec![over[2], open];
    due.sort();
    assert_eq!(uncleared, due);
    assert!(desk.journal.forget_uploads(now().await).await.unwrap() >= 2);
    assert_eq!(desk.journal.upload(over[0]).await.unwrap(), None);
    assert_eq!(complete(&desk, over[0], b"late").await, Verdict::UploadOver);
    assert!(desk.journal.upload(open).await.unwrap().is_some());
}
