//! Contract tests of the tree's backlog: leases, settling, clean points. All of these run alone,
//! because all books share one backlog; rows of other tests are ignored.

use std::collections::BTreeSet;
use std::time::Duration;

use panaversity_model::change::Verdict;
use panaversity_model::precondition::Effect;
use panaversity_model::publication::{Attempt, Publication, Settled};
use panaversity_model::{BookPath, Layer};

use super::Setup;
use super::fixture::{ContractFixture, run_concurrently};
use crate::samples::{change_set, delete, key, lease, lesson, overlay, write};

/// Claims all pending files and returns those of the fixture's book.
async fn claim(fixture: &ContractFixture) -> Vec<Publication> {
    let (mut ours, mut seen) = (Vec::new(), BTreeSet::new());
    loop {
        let leases: Vec<_> = (0..64).map(|_| lease()).collect();
        let claimed = fixture.journal.claim(&leases).await.unwrap();
        assert!(claimed.len() <= leases.len());
        let used: BTreeSet<_> = claimed.iter().map(|publication| publication.lease).collect();
        assert!(used.len() == claimed.len() && used.iter().all(|lease| leases.contains(lease)));
        if claimed.is_empty() {
            return ours;
        }
        for publication in &claimed {
            assert!(seen.insert(publication.key.clone()), "{publication:?} was claimed twice");
        }
        ours.extend(claimed.into_iter().filter(|publication| publication.key.book == fixture.book));
    }
}

async fn acknowledge(fixture: &ContractFixture, publication: &Publication, attempt: Attempt) -> Settled {
    fixture.journal.acknowledge(publication, attempt).await.unwrap()
}

async fn unsynced(fixture: &ContractFixture) -> Vec<BookPath> {
    let mut paths = fixture.journal.unsynced(100_000).await.unwrap();
    paths.retain(|(key, _)| key.book == fixture.book);
    paths.into_iter().map(|(key, _)| key.path).collect()
}

/// A commit takes the lease on the files it changed; no other publisher gets it.
pub async fn the_committer_gets_the_lease_and_nobody_else(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let set = change_set(&fixture.book, &Layer::Base, vec![write(&lesson(1), b"a", None)]);
    let verdict = fixture.journal.commit(set.clone()).await.unwrap();
    let Verdict::Committed(mut applied) = verdict else { panic!("{verdict:?}") };
    let publication = applied.remove(0).publication.unwrap();
    assert_eq!(publication.key, key(&fixture.book, &lesson(1), &Layer::Base));
    assert_eq!(publication.lease, set.lease);
    let second = fixture.put(&Layer::Base, &lesson(1), b"b").await;
    assert_eq!((second.effect, second.publication), (Effect::Updated, None), "the path is leased");
    assert_eq!(claim(&fixture).await, vec![]);
    let deleted = fixture.commit_one(&Layer::Base, delete(&lesson(1), None)).await;
    assert_eq!(deleted.publication, None);
    let other = fixture.put(&overlay("ann"), &lesson(1), b"b").await;
    assert!(other.publication.is_some(), "an overlay's path is another path");
}

/// A path that changed while it was published stays pending, at its new version.
pub async fn a_path_that_moved_on_stays_pending(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let before = fixture.journal.pending().await.unwrap();
    let publication = fixture.put(&Layer::Base, &lesson(1), b"a").await.publication.unwrap();
    fixture.delete(&Layer::Base, &lesson(1)).await;
    assert_eq!(acknowledge(&fixture, &publication, Attempt::Done).await, Settled::Pending);
    assert_eq!(fixture.journal.pending().await.unwrap(), before + 1);
    let claimed = claim(&fixture).await;
    assert_eq!(claimed.len(), 1, "the lease was given back");
    assert!(claimed[0].version > publication.version);
    assert_eq!(fixture.journal.current_file(&claimed[0].key).await.unwrap(), None, "it is to be removed");
    assert_eq!(acknowledge(&fixture, &claimed[0], Attempt::Done).await, Settled::Published);
    assert_eq!(fixture.journal.pending().await.unwrap(), before);
}

/// A failed attempt releases the lease; the path is claimed, published once, and not again.
pub async fn a_path_given_back_is_claimed_again(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let before = fixture.journal.pending().await.unwrap();
    let first = fixture.put(&Layer::Base, &lesson(1), b"a").await.publication.unwrap();
    let second = fixture.put(&Layer::Base, &lesson(2), b"a").await.publication.unwrap();
    assert_eq!(fixture.journal.pending().await.unwrap(), before + 2);
    assert_eq!(acknowledge(&fixture, &second, Attempt::Done).await, Settled::Published);
    assert_eq!(fixture.journal.pending().await.unwrap(), before + 1);
    assert_eq!(acknowledge(&fixture, &first, Attempt::Failed).await, Settled::Pending);
    let claimed = claim(&fixture).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!((&claimed[0].key, claimed[0].version), (&first.key, first.version));
    assert_eq!(claim(&fixture).await, vec![], "it is leased again");
    assert_eq!(acknowledge(&fixture, &claimed[0], Attempt::Done).await, Settled::Published);
    assert_eq!(claim(&fixture).await, vec![], "it is published");
    assert_eq!(fixture.journal.pending().await.unwrap(), before);
    let again = fixture.put(&Layer::Base, &lesson(1), b"b").await;
    assert!(again.publication.is_some_and(|again| again.version > first.version));
}

/// A lost lease settles nothing and releases nothing.
pub async fn a_lost_lease_settles_nothing(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let held = fixture.put(&Layer::Base, &lesson(1), b"a").await.publication.unwrap();
    let stranger = Publication { lease: lease(), ..held.clone() };
    assert_eq!(acknowledge(&fixture, &stranger, Attempt::Failed).await, Settled::Pending);
    assert_eq!(claim(&fixture).await, vec![], "who did nothing takes nobody's lease away");
    assert_eq!(acknowledge(&fixture, &stranger, Attempt::Done).await, Settled::Pending);
    assert_eq!(
        acknowledge(&fixture, &held, Attempt::Done).await,
        Settled::Pending,
        "the tree may hold older bytes"
    );
    assert_eq!(claim(&fixture).await, vec![], "the lease that ran goes on");
    if !setup.expire_leases().await {
        return;
    }
    let again = claim(&fixture).await;
    assert_eq!(again.len(), 1);
    assert_eq!(acknowledge(&fixture, &again[0], Attempt::Done).await, Settled::Published);
}

/// An expired lease is claimed by another publisher, or taken by the next commit; the publisher
/// whose lease expired settles nothing.
pub async fn an_expired_lease_goes_to_another(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let first = fixture.put(&Layer::Base, &lesson(1), b"a").await.publication.unwrap();
    fixture.put(&Layer::Base, &lesson(2), b"a").await;
    if !setup.expire_leases().await {
        return;
    }
    let next = fixture.put(&Layer::Base, &lesson(2), b"b").await;
    assert!(next.publication.is_some(), "the commit takes over");
    let claimed = claim(&fixture).await;
    assert_eq!(claimed.iter().map(|one| &one.key).collect::<Vec<_>>(), [&first.key]);
    assert_eq!(claimed[0].version, first.version);
    assert_eq!(acknowledge(&fixture, &first, Attempt::Failed).await, Settled::Pending);
    assert_eq!(claim(&fixture).await, vec![], "the new lease is still held");
    assert_eq!(acknowledge(&fixture, &claimed[0], Attempt::Done).await, Settled::Published);
    assert_eq!(acknowledge(&fixture, &first, Attempt::Done).await, Settled::Pending, "it came too late");
    assert_eq!(claim(&fixture).await.len(), 1, "the tree may hold the older bytes: again");
}

/// A current lease can be prolonged, never shortened; a lost one cannot be prolonged.
pub async fn a_prolonged_lease_lasts_longer(setup: &Setup) {
    const HOUR: Duration = Duration::from_hours(1);
    let fixture = ContractFixture::new(setup);
    let held = fixture.put(&Layer::Base, &lesson(1), b"a").await.publication.unwrap();
    let plain = fixture.put(&Layer::Base, &lesson(2), b"a").await.publication.unwrap();
    let stranger = Publication { lease: lease(), ..held.clone() };
    assert!(!fixture.journal.extend_lease(&stranger, HOUR).await.unwrap());
    let elsewhere = Publication { key: key(&fixture.book, &lesson(3), &Layer::Base), ..held.clone() };
    assert!(!fixture.journal.extend_lease(&elsewhere, HOUR).await.unwrap());
    assert!(fixture.journal.extend_lease(&held, HOUR).await.unwrap());
    assert!(fixture.journal.extend_lease(&held, Duration::ZERO).await.unwrap(), "it is still held");
    assert_eq!(claim(&fixture).await, vec![]);
    assert_eq!(acknowledge(&fixture, &held, Attempt::Done).await, Settled::Published, "and settled as ever");
    assert!(!fixture.journal.extend_lease(&held, HOUR).await.unwrap(), "it was given back");
    if !setup.expire_leases().await {
        return;
    }
    assert!(!fixture.journal.extend_lease(&plain, HOUR).await.unwrap(), "it has expired");
    assert_eq!(claim(&fixture).await.len(), 1);
}

/// A path whose storage never answered waits until its lease, started anew, has expired: the
/// request may still be carried out, also under a lease that was lost.
pub async fn a_path_without_an_answer_waits_for_its_lease(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let first = fixture.put(&Layer::Base, &lesson(1), b"a").await.publication.unwrap();
    assert_eq!(acknowledge(&fixture, &first, Attempt::Unknown).await, Settled::Pending);
    assert_eq!(claim(&fixture).await, vec![], "it may still arrive");
    if !setup.expire_leases().await {
        return;
    }
    let second = claim(&fixture).await.remove(0);
    assert_eq!(acknowledge(&fixture, &second, Attempt::Done).await, Settled::Published);
    assert_eq!(
        acknowledge(&fixture, &first, Attempt::Unknown).await,
        Settled::Pending,
        "it may arrive after that"
    );
    assert_eq!(claim(&fixture).await, vec![], "but not yet");
    setup.expire_leases().await;
    let third = claim(&fixture).await.remove(0);
    assert_eq!(acknowledge(&fixture, &third, Attempt::Done).await, Settled::Published);
}

/// Concurrent claims divide the backlog; no path is given to two publishers.
pub async fn concurrent_claims_never_share_a_path(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let changes = (0..40).map(|n| write(&lesson(n), b"a", None)).collect();
    for applied in fixture.commit(&Layer::Base, changes).await {
        acknowledge(&fixture, &applied.publication.unwrap(), Attempt::Failed).await;
    }
    let shares = run_concurrently(4, |_| {
        let fixture = fixture.clone();
        async move { claim(&fixture).await }
    })
    .await;
    let paths: BTreeSet<_> = shares.iter().flatten().map(|publication| &publication.key.path).collect();
    assert_eq!((paths.len(), shares.concat().len()), (40, 40), "each path once");
}

/// No more paths are claimed than there are leases.
pub async fn a_claim_takes_no_more_than_its_leases(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let changes = (0..5).map(|n| write(&lesson(n), b"a", None)).collect();
    for applied in fixture.commit(&Layer::Base, changes).await {
        acknowledge(&fixture, &applied.publication.unwrap(), Attempt::Failed).await;
    }
    assert_eq!(fixture.journal.claim(&[]).await.unwrap(), vec![]);
    let leases = [lease(), lease()];
    assert_eq!(fixture.journal.claim(&leases).await.unwrap().len(), 2);
    assert!(claim(&fixture).await.len() >= 3, "the rest is still there");
}

/// A published path waits for a clean point, and is removed when one covers its version.
pub async fn a_published_path_waits_for_a_clean_point(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let first = fixture.put(&Layer::Base, &lesson(1), b"a").await.publication.unwrap();
    assert_eq!(unsynced(&fixture).await, vec![], "pending is not published");
    fixture.journal.synced(&[(first.key.clone(), first.version)]).await.unwrap();
    let settled = acknowledge(&fixture, &first, Attempt::Done).await;
    assert_eq!(settled, Settled::Published, "a clean point forgets nothing that is pending");
    assert_eq!(unsynced(&fixture).await, vec![lesson(1)]);
    fixture.journal.synced(&[(first.key.clone(), first.version - 1)]).await.unwrap();
    assert_eq!(unsynced(&fixture).await, vec![lesson(1)], "another version was covered");
    let second = fixture.put(&Layer::Base, &lesson(1), b"b").await.publication.unwrap();
    fixture.journal.synced(&[(first.key.clone(), first.version)]).await.unwrap();
    assert_eq!(unsynced(&fixture).await, vec![], "it is pending again");
    assert_eq!(
        acknowledge(&fixture, &second, Attempt::Done).await,
        Settled::Published,
        "and was not forgotten"
    );
    fixture.journal.synced(&[(second.key.clone(), second.version)]).await.unwrap();
    assert_eq!(unsynced(&fixture).await, vec![]);
    assert_eq!(claim(&fixture).await, vec![]);
    assert!(fixture.put(&Layer::Base, &lesson(1), b"c").await.publication.is_some(), "it starts anew");
}

/// I9: after an unclean stop exactly the paths that no clean point covers are pending again.
pub async fn i9_what_no_clean_point_covers_is_published_again(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let changes = (0..3).map(|n| write(&lesson(n), b"a", None)).collect();
    let applied = fixture.commit(&Layer::Base, changes).await;
    let held: Vec<_> = applied.into_iter().map(|one| one.publication.unwrap()).collect();
    acknowledge(&fixture, &held[0], Attempt::Done).await;
    acknowledge(&fixture, &held[1], Attempt::Done).await;
    fixture.journal.synced(&[(held[0].key.clone(), held[0].version)]).await.unwrap();
    let (pending, loose) =
        (fixture.journal.pending().await.unwrap(), fixture.journal.unsynced(100_000).await.unwrap());
    let again = fixture.journal.requeue_unsynced().await.unwrap();
    assert_eq!(usize::try_from(again).unwrap(), loose.len());
    assert_eq!(fixture.journal.pending().await.unwrap(), pending + i64::try_from(again).unwrap());
    assert_eq!(unsynced(&fixture).await, vec![]);
    let claimed = claim(&fixture).await;
    assert_eq!(claimed.len(), 1, "neither the covered path nor the leased one");
    assert_eq!((&claimed[0].key, claimed[0].version), (&held[1].key, held[1].version));
    assert_eq!(fixture.journal.requeue_unsynced().await.unwrap(), 0);
}
