//! Publishing by several servers. Proves R2 for the tree: however late a server publishes, once all are
//! idle the tree matches the journal; and that a power cut loses nothing (I9).

use std::sync::Arc;

use panaversity_model::{BookPath, ErrorCode, Layer};
use panaversity_service::limits::TaskTimes;
use panaversity_service::{Limits, Service};
use panaversity_testkit::samples::{lesson, overlay};
use panaversity_testkit::{FaultMode, MemoryTree};
use tokio::task::JoinHandle;

use crate::fixture::{LIMITS, ServiceFixture, want};
use crate::invariants::{hold, published, readable};
use crate::trees::{GatedTree, TEST_TIMEOUT};

/// Two servers on one fixture; the first one's access to the tree is blocked.
fn two_servers(fixture: &ServiceFixture) -> (Arc<GatedTree>, Arc<Service>, Service) {
    let gate = GatedTree::shut(fixture.tree.clone());
    let slow = Arc::new(fixture.server_over(gate.clone(), LIMITS));
    (gate, slow, fixture.server())
}

/// A change through the blocked server, which stops before the tree; `None` deletes.
async fn stopped(
    fixture: &Arc<ServiceFixture>,
    (gate, slow): (&GatedTree, &Arc<Service>),
    path: &BookPath,
    text: Option<&'static str>,
) -> JoinHandle<()> {
    let (fixture, slow, path) = (fixture.clone(), slow.clone(), path.clone());
    let task = tokio::spawn(async move {
        match text {
            Some(text) => _ = fixture.put(&slow, &Layer::Base, &path, text).await,
            None => _ = fixture.delete(&slow, &Layer::Base, &path).await.unwrap(),
        }
    });
    gate.somebody_waits().await;
    task
}

#[tokio::test]
async fn r2_a_publisher_that_lost_its_lease_does_not_win() {
    // The late server's change; the other's changes meanwhile, with and without the lease.
    let courses: [(Option<&'static str>, &[Option<&str>]); 5] = [
        (Some("late"), &[Some("second")]),
        (Some("late"), &[None]),
        (Some("late"), &[Some("second"), None]),
        (None, &[Some("second")]),
        (None, &[Some("second"), None, Some("third")]),
    ];
    for (late, meanwhile) in courses {
        for covered in [false, true] {
            let fixture = Arc::new(ServiceFixture::new());
            let (gate, slow, server) = two_servers(&fixture);
            fixture.put(&server, &Layer::Base, &lesson(1), "first").await;
            fixture.idle(&server).await;
            let task = stopped(&fixture, (&gate, &slow), &lesson(1), late).await;
            for text in meanwhile {
                match text {
                    Some(text) => _ = fixture.put(&server, &Layer::Base, &lesson(1), text).await,
                    None => assert!(fixture.delete(&server, &Layer::Base, &lesson(1)).await.unwrap()),
                }
                fixture.quiet().await;
                fixture.expire_leases();
                server.publish_pending().await.unwrap();
            }
            let before = hold(&fixture, &server).await;
            if covered {
                server.fsync_checkpoint().await.unwrap();
            }

            gate.open();
            task.await.unwrap();
            fixture.quiet().await;
            let tree = fixture.tree.files();
            assert_ne!(tree, published(&fixture, &before), "the late one overwrote the tree");
            assert_eq!(server.pending_publications().await.unwrap(), 1, "and owned up to it");
            fixture.idle(&server).await;
            assert_eq!(hold(&fixture, &server).await, before, "{late:?}, {meanwhile:?}");
        }
    }
}

#[tokio::test]
async fn r2_a_path_that_moves_on_while_it_is_published_is_published_again() {
    let fixture = Arc::new(ServiceFixture::new());
    let (gate, slow, server) = two_servers(&fixture);
    let task = stopped(&fixture, (&gate, &slow), &lesson(1), Some("first")).await;
    fixture.put(&server, &Layer::Base, &lesson(1), "second").await;
    assert_eq!(server.publish_pending().await.unwrap(), (0, 0), "the lease is held");
    assert_eq!(fixture.tree.files().len(), 0);
    gate.open();
    task.await.unwrap();
    fixture.quiet().await;
    assert_eq!(server.publish_pending().await.unwrap(), (1, 0), "no lease needs to expire");
    hold(&fixture, &server).await;
}

#[tokio::test]
async fn an_answer_does_not_wait_for_a_tree_that_does_not_answer() {
    let fixture = ServiceFixture::new();
    let gate = GatedTree::shut(fixture.tree.clone());
    let slow = fixture.server_over(gate.clone(), LIMITS);
    let set = vec![want(&lesson(1), Some("a"), None), want(&lesson(2), Some("b"), None)];
    let answer = tokio::time::timeout(TEST_TIMEOUT / 2, fixture.change(&slow, &Layer::Base, set)).await;
    answer.expect("it waits for the tree");
    assert_eq!(fixture.tree.files().len(), 0, "it was acknowledged before it was published");
    assert_eq!(slow.pending_publications().await.unwrap(), 2);
    gate.open();
    fixture.idle(&slow).await;
    hold(&fixture, &slow).await;
}

#[tokio::test]
async fn r5_overlays_stay_out_of_the_tree_unless_it_is_configured() {
    let fixture = ServiceFixture::new();
    let tree = Arc::new(MemoryTree::new());
    let private = fixture.server_over(tree.clone(), Limits { publish_overlays: false, ..LIMITS });
    fixture.put(&private, &Layer::Base, &lesson(1), "everybody's").await;
    fixture.put(&private, &overlay("ann"), &lesson(1), "ann's").await;
    fixture.put(&private, &overlay("ann"), &lesson(2), "ann's, too").await;
    // The same by the background publisher.
    fixture.faults.arm(fixture.faults.calls().len(), FaultMode::FailAfter);
    let lost = fixture.write(&private, &overlay("bob"), &lesson(3), "bob's", None).await;
    assert_eq!(lost.unwrap_err().code(), ErrorCode::DatabaseUnavailable);
    assert!(fixture.holds(&overlay("bob"), &lesson(3)).await.is_some(), "only its answer was lost");
    fixture.delete(&private, &overlay("ann"), &lesson(2)).await.unwrap();
    fixture.idle(&private).await;
    assert_eq!(tree.files().into_values().collect::<Vec<_>>(), [b"everybody's"]);
    assert_eq!(readable(&fixture, &private).await.len(), 3, "and are read all the same");
}

#[tokio::test]
async fn i9_what_a_power_cut_took_from_the_tree_comes_back() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    for (n, text) in [(1, "a"), (2, "b")] {
        fixture.put(&server, &Layer::Base, &lesson(n), text).await;
    }
    fixture.quiet().await;
    server.fsync_checkpoint().await.unwrap();
    fixture.put(&server, &Layer::Base, &lesson(1), "after the clean point").await;
    fixture.put(&server, &overlay("ann"), &lesson(3), "as well").await;
    fixture.delete(&server, &Layer::Base, &lesson(2)).await.unwrap();
    fixture.quiet().await;
    let before = hold(&fixture, &server).await;
    fixture.tree.cut_power();
    assert_ne!(fixture.tree.files(), published(&fixture, &before), "something was lost");
    let server = fixture.server();
    assert_eq!(server.recheck_published().await.unwrap(), 3, "what the clean point covers is left alone");
    fixture.idle(&server).await;
    assert_eq!(hold(&fixture, &server).await, before);
}

#[tokio::test]
async fn a_backlog_larger_than_one_claim_is_worked_off_at_once() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let set = (0..150).map(|n| want(&lesson(n), Some(&format!("{n}")), None)).collect();
    fixture.change(&server, &Layer::Base, set).await;
    fixture.quiet().await;
    fixture.idle(&server).await;
    fixture.tree.cut_power();
    assert_eq!(server.recheck_published().await.unwrap(), 150);
    assert_eq!(server.publish_pending().await.unwrap(), (150, 0));
    hold(&fixture, &server).await;
}

#[tokio::test]
async fn a_large_file_that_hangs_keeps_no_small_one_and_no_deletion_from_being_published() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    fixture.put(&server, &Layer::Base, &lesson(70), "deleted").await;
    fixture.idle(&server).await;
    server.fsync_checkpoint().await.unwrap();
    // Enough of them to fill a claim.
    let large = "x".repeat((1 << 20) + 1);
    let mut set: Vec<_> = (0..20).map(|n| want(&lesson(n), Some(&large), None)).collect();
    set.push(want(&lesson(71), Some("small"), None));
    fixture.change(&server, &Layer::Base, set).await;
    fixture.delete(&server, &Layer::Base, &lesson(70)).await.unwrap();
    fixture.idle(&server).await;
    fixture.tree.cut_power();
    assert_eq!(fixture.tree.files().into_values().collect::<Vec<_>>(), [b"deleted"]);
    server.recheck_published().await.unwrap();

    let gate = GatedTree::shut_for_large(fixture.tree.clone());
    let slow = fixture.server_over(gate.clone(), LIMITS);
    let background = {
        let slow = slow.clone();
        tokio::spawn(async move { slow.run_publisher(TaskTimes::default()).await })
    };
    gate.somebody_waits().await;
    fixture.quiet().await;
    assert_eq!(fixture.tree.files().into_values().collect::<Vec<_>>(), [b"small"]);
    // A large file written now is left to the background publisher, too.
    fixture.change(&slow, &Layer::Base, vec![want(&lesson(72), Some(&large), None)]).await;
    fixture.put(&slow, &Layer::Base, &lesson(73), "small, too").await;
    fixture.quiet().await;
    assert_eq!(fixture.tree.files().len(), 2);
    let claims = |fixture: &ServiceFixture| {
        fixture.faults.calls().iter().filter(|call| **call == "journal.claim").count()
    };
    let before = claims(&fixture);
    fixture.quiet().await;
    assert!(claims(&fixture) <= before + 1, "what waits is not claimed again and again");

    gate.open();
    fixture.quiet().await;
    assert_eq!(slow.pending_publications().await.unwrap(), 0, "one follows the other");
    background.abort();
    hold(&fixture, &slow).await;
}
