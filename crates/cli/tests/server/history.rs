//! Several servers as one store (I8, I9): three processes on one `PostgreSQL` and one S3, twelve
//! clients, one server killed every half second, and every operation recorded with its times. No
//! two changes have one predecessor, nothing acknowledged is lost, reads and changes are
//! linearizable, every chain is whole, and the tree converges. The checker itself is tested on
//! stores with injected faults.

mod checker;
mod clients;
mod faulty_store;
mod record;
mod servers;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use checker::{forks, linearizable};
use clients::{FILES, Round};
use faulty_store::{Fault, Planted};
use record::{Action, Operation, Outcome};
use servers::Cluster;

/// Time that clients work on a store with an injected fault.
const ON_PLANTED: Duration = Duration::from_millis(700);
/// Time that they work on real servers in the normal run.
const ON_SERVERS: Duration = Duration::from_millis(4_500);
/// The same in the long run.
const LONG: Duration = Duration::from_mins(1);
/// Id of the client that reads after all others have finished.
const LAST_READER: usize = usize::MAX;

/// A random number, different in every run.
fn random_below(sides: usize) -> usize {
    usize::try_from(RandomState::new().hash_one(0) >> 33).unwrap() % sides
}

async fn history_of(fault: Fault) -> Vec<Operation> {
    let history = Round::on(Arc::new(Planted::with(fault))).run(ON_PLANTED).await;
    let changes = history.iter().filter(|operation| operation.acknowledged().is_some()).count();
    assert!(changes > 100, "{changes} changes are no load");
    history
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_nothing_wrong_with_a_store_that_keeps_its_word() {
    for fault in [Fault::Nothing, Fault::LosesAnswers] {
        let history = history_of(fault).await;
        assert_eq!(forks(&history).len(), 0, "{fault:?}");
        assert_eq!(linearizable(&history), Ok(()), "{fault:?}");
        let unknown = history.iter().any(|operation| operation.outcome == Outcome::Unknown);
        assert_eq!(unknown, fault == Fault::LosesAnswers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_a_precondition_that_is_decided_outside_of_the_lock() {
    let history = history_of(Fault::ChecksOutsideTheLock).await;
    assert_ne!(forks(&history).len(), 0);
    assert!(linearizable(&history).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_a_read_cache_of_twenty_milliseconds() {
    let history = history_of(Fault::CachesReads).await;
    assert_eq!(forks(&history).len(), 0, "nothing is lost, only stale");
    assert!(linearizable(&history).is_err());
}

/// Way in which the leases of killed servers end: by SQL at once, or by their real expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leases {
    EndBySql,
    Real,
}

async fn three_servers_keep_their_word(length: Duration, leases: Leases) {
    let mut cluster = Cluster::start().await;
    let round = Round::on(cluster.doors.clone());
    let (mut history, kills) = tokio::join!(round.run(length), cluster.kill(length));
    // As part of the history: the last reads must be consistent with the end of it.
    for file in 0..FILES {
        history.push(round.recorded(LAST_READER, file, Action::Read).await);
    }
    let count = |is: fn(&Operation) -> bool| history.iter().filter(|operation| is(operation)).count();
    let acknowledged = count(|operation| operation.acknowledged().is_some());
    let unknown = count(|operation| operation.in_doubt().is_some());
    eprintln!("{} operations: {acknowledged} changes, {unknown} unknown; {kills} kills", history.len());
    assert!(acknowledged > 10 && kills > 2, "that was no load");
    let forks = forks(&history);
    assert!(forks.is_empty(), "{} forks, such as {:?}", forks.len(), forks[0]);
    if let Err(stuck) = linearizable(&history) {
        panic!("the history of {} operations is not linearizable: {stuck}", history.len());
    }
    let holds = cluster.holds().await;
    cluster.assert_recorded(&history, &holds).await;
    if leases == Leases::EndBySql {
        cluster.end_leases();
    }
    cluster.assert_published(&holds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_three_servers_that_are_killed_again_and_again_keep_their_word() {
    three_servers_keep_their_word(ON_SERVERS, Leases::EndBySql).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn i8_three_servers_that_are_killed_for_a_minute_keep_their_word() {
    three_servers_keep_their_word(LONG, Leases::Real).await;
}
