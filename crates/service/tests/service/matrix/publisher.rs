//! The crash matrix of the publisher (R2, I9): whichever call of it fails, the tree matches the journal
//! once the publisher is idle.

use panaversity_model::Layer;
use panaversity_model::ports::Changes;
use panaversity_service::Service;
use panaversity_testkit::samples::{change_set, delete, lesson, overlay, write};

use super::cells;
use crate::fixture::{Files, ServiceFixture};
use crate::invariants::hold;

/// A book with files covered by a clean point, published, and pending: changed, deleted, and in an
/// overlay. The leases of their writers have ended.
async fn backlog() -> ServiceFixture {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    for n in 1..=3 {
        fixture.put(&server, &Layer::Base, &lesson(n), &format!("covered {n}")).await;
    }
    fixture.quiet().await;
    server.fsync_checkpoint().await.unwrap();
    fixture.put(&server, &Layer::Base, &lesson(1), "published").await;
    fixture.delete(&server, &Layer::Base, &lesson(3)).await.unwrap();
    fixture.quiet().await;
    // Commits of servers that crashed right after the commit.
    let covered = panaversity_model::ContentHash::of(b"covered 2");
    let sets = [
        (Layer::Base, vec![write(&lesson(2), b"pending", Some(covered)), write(&lesson(4), b"new", None)]),
        (Layer::Base, vec![delete(&lesson(4), None)]),
        (overlay("ann"), vec![write(&lesson(2), b"mine", None)]),
    ];
    for (layer, changes) in sets {
        let mut set = change_set(&fixture.book, &layer, changes);
        set.agent = panaversity_testkit::samples::agent(crate::fixture::AGENT);
        fixture.journal.commit(set).await.unwrap();
    }
    fixture.expire_leases();
    fixture
}

/// Work of a server after its start and at intervals, as far as it gets.
async fn work(server: &Service) {
    let _ = server.recheck_published().await;
    let _ = server.publish_pending().await;
    let _ = server.fsync_checkpoint().await;
}

#[tokio::test]
async fn i9_the_tree_catches_up_whichever_call_of_the_publisher_breaks() {
    let backlog = backlog().await;
    let fixture = backlog.copy();
    let server = fixture.server();
    assert_eq!(server.pending_publications().await.unwrap(), 3, "there is a backlog");
    fixture.faults.reset();
    work(&server).await;
    fixture.quiet().await;
    let calls = fixture.faults.calls();
    let due: Files = hold(&fixture, &server).await;
    assert_eq!(due.len(), 3, "{due:?}");
    for name in ["journal.requeue_unsynced", "journal.claim", "tree.remove", "tree.sync", "journal.synced"] {
        assert!(calls.contains(&name), "{name} is among {calls:?}");
    }
    let mut count = 0;
    for (call, failure, recovery) in cells(calls.len()) {
        let fixture = backlog.copy();
        let server = fixture.server();
        fixture.faults.reset();
        fixture.faults.arm(call, failure);
        work(&server).await;
        fixture.quiet().await;
        let server = recovery.recover(&fixture, server).await;
        let left = hold(&fixture, &server).await;
        assert_eq!(left, due, "call {call}, {}: {failure:?}, then {recovery:?}", calls[call]);
        count += 1;
    }
    assert!(count >= 200, "the matrix has only {count} cells");
}
