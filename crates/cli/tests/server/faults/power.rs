//! Power cuts (I9): a server with its database and its storage on a disk whose power is cut under
//! load. Nothing acknowledged is lost, and the tree converges.

use std::os::unix::fs::symlink;

use panaversity_testkit::disk::Disk;

use super::load::{LoadFiles, random_below};
use super::or_skip;
use crate::harness::{Db, TestEnv};

const MANY_ROUNDS: usize = 20;

async fn survives_power_cuts(rounds: usize) {
    let env = TestEnv::new(Db::Sqlite);
    let at = env.folder().join("disk");
    let disk = Disk::with_power(&env.folder().join("image"), &at, 256);
    let Some(disk) = or_skip(disk) else { return };
    let env = env.with("DATABASE_URL", &format!("sqlite:{}", at.join("journal.db").display()));
    symlink(at.join("storage"), env.storage_root()).unwrap();
    std::fs::create_dir(at.join("storage")).unwrap();

    let (mut server, mut files) = (env.start_process().await, LoadFiles::new());
    for round in 0..rounds {
        let load = files.load(&server);
        load.for_a_while(200 + u64::try_from(random_below(500)).unwrap()).await;
        // A real power cut takes the answers with it. This one does not: ext4 may call a sync that it aborts
        // done (a transaction that is no longer there counts as committed), and that answer would get out.
        load.hears_nothing();
        disk.cut_power();
        server.kill9().await;
        files = load.stop().await;
        disk.restart();
        server = env.start_process().await;
        files.assert_whole(&env, &server).await;
        assert!(files.changes() > round, "the load was no load");
    }
    eprintln!("{rounds} power cuts: {} changes were acknowledged", files.changes());
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_what_was_acknowledged_survives_a_power_cut() {
    survives_power_cuts(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn i9_what_was_acknowledged_survives_twenty_power_cuts() {
    survives_power_cuts(MANY_ROUNDS).await;
}
