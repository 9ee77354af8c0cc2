//! Several servers as one store (I8, I9): three processes on one `PostgreSQL` and one S3, twelve
//! clients, one server killed every half second, and every operation recorded with its times. No
//! two changes have one predecessor, nothing acknowledged is lost, reads and changes are
//! linearizable, every chain is whole, readers of the feed get every change once and all the
//! same, and the tree converges. The checker itself is tested on
//! stores with injected faults.

mod checker;
mod clients;
mod faulty_store;
mod record;
mod servers;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use checker::{forks, linearizable};
use clients::{FILES, Round};
use faulty_store::{Fault, Planted};
use futures::future::join_all;
use panaversity_testkit::postgres::Postgres;
use record::{Action, Operation, Outcome};
use servers::{Cluster, Doors, follow};
use tokio::task::block_in_place;

use crate::harness::{Db, TestEnv, until};

/// Time that clients work on a store with an injected fault.
const ON_PLANTED: Duration = Duration::from_millis(700);
/// Time that they work on real servers in the normal run.
const ON_SERVERS: Duration = Duration::from_millis(4_500);
/// The same while the primary dies.
const ON_FAILOVER: Duration = Duration::from_secs(8);
/// Time for which the standby gets nothing before that.
const CUT_OFF: Duration = Duration::from_millis(300);
/// The same in the long run.
const LONG: Duration = Duration::from_mins(1);
/// Readers of the feed of changes beside the clients.
const FEED_READERS: usize = 3;
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

/// Reads every file once more, as part of the history: the last reads must be consistent with its end.
async fn finished(mut history: Vec<Operation>, round: &Round<Doors>) -> Vec<Operation> {
    for file in 0..FILES {
        history.push(round.recorded(LAST_READER, file, Action::Read).await);
    }
    history
}

/// Asserts what a history must show, and that the servers then hold what it left.
async fn kept_their_word(history: &[Operation], cluster: &Cluster, leases: Leases) {
    let forks = forks(history);
    assert!(forks.is_empty(), "{} forks, such as {:?}", forks.len(), forks[0]);
    if let Err(stuck) = linearizable(history) {
        panic!("the history of {} operations is not linearizable: {stuck}", history.len());
    }
    let holds = cluster.holds().await;
    cluster.assert_recorded(history, &holds).await;
    if leases == Leases::EndBySql {
        cluster.end_leases();
    }
    cluster.assert_published(&holds).await;
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
    let finish = AtomicBool::new(false);
    let readers = join_all((0..FEED_READERS).map(|_| {
        let doors = cluster.doors.clone();
        let finish = &finish;
        async move { follow(&doors, "", async || finish.load(Ordering::Acquire)).await }
    }));
    let work = async {
        let (history, kills) = tokio::join!(round.run(length), cluster.kill(length));
        finish.store(true, Ordering::Release);
        (history, kills)
    };
    let ((history, kills), told) = tokio::join!(work, readers);
    cluster.assert_told(&history, &told).await;
    let history = finished(history, &round).await;
    let count = |is: fn(&Operation) -> bool| history.iter().filter(|operation| is(operation)).count();
    let acknowledged = count(|operation| operation.acknowledged().is_some());
    let unknown = count(|operation| operation.in_doubt().is_some());
    eprintln!("{} operations: {acknowledged} changes, {unknown} unknown; {kills} kills", history.len());
    assert!(acknowledged > 10 && kills > 2, "that was no load");
    kept_their_word(&history, &cluster, leases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_after_the_death_of_a_primary_the_servers_go_on_with_its_standby_and_nothing_is_lost() {
    let (mut primary, standby) = block_in_place(Postgres::with_standby);
    let database = primary.create_database();
    let name = database.rsplit('/').next().unwrap();
    let either = primary.url_beside(&standby, name);
    let cluster = Cluster::start_on(TestEnv::new(Db::Sqlite), either, true).await;
    let round = Round::on(cluster.doors.clone());
    let fail_over = async {
        let versions = |server: &Postgres| -> u32 {
            server.query(&server.url(name), "SELECT count(*) FROM versions").parse().unwrap()
        };
        until("there is load", async || versions(&primary) > 100).await;
        // A commit that the standby lacks must not be answered.
        block_in_place(|| primary.cut_off(&standby));
        tokio::time::sleep(CUT_OFF).await;
        block_in_place(|| {
            primary.kill9();
            standby.thaw();
            standby.promote();
        });
        let promoted = Instant::now();
        let before = versions(&standby);
        until("changes are made again", async || versions(&standby) > before).await;
        promoted.elapsed()
    };
    let (history, back_in) = tokio::join!(round.run(ON_FAILOVER), fail_over);
    let history = finished(history, &round).await;
    let failed = history.iter().filter(|operation| operation.outcome == Outcome::Failed).count();
    eprintln!("{} operations, {failed} failed; back within {back_in:?}", history.len());
    assert!(back_in < Duration::from_secs(10), "{back_in:?}");
    kept_their_word(&history, &cluster, Leases::EndBySql).await;
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
