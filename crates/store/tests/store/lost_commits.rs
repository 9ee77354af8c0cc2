//! A COMMIT that is lost, or whose answer is, together with the writes sent with it (I9).

use std::sync::Arc;

use panaversity_model::change::Verdict;
use panaversity_model::ports::{AuditLog, Changes, Files};
use panaversity_model::{BookId, Fault, Layer, View};
use panaversity_store::SqlJournal;
use panaversity_testkit::postgres::shared;
use panaversity_testkit::proxy::{Proxy, Trap};
use panaversity_testkit::samples::{book, change_set, lesson, write};

use crate::engines::open;

/// A change whose COMMIT meets the trap.
async fn trapped(trap: Trap) -> (Proxy, Arc<SqlJournal>, BookId, Result<Verdict, Fault>) {
    let proxy = Proxy::to(shared().address()).await;
    let url = shared().create_database();
    let url = url.replace(&shared().address().to_string(), &proxy.address().to_string());
    let (_, journal) = open(&url).await;
    let book = book();
    proxy.set_trap("COMMIT", trap);
    let set = change_set(&book, &Layer::Base, vec![write(&lesson(1), b"text", None)]);
    let verdict = journal.commit(set).await;
    assert!(proxy.has_sprung(), "no COMMIT was sent");
    (proxy, journal, book, verdict)
}

async fn assert_there_once(journal: &SqlJournal, book: &BookId) {
    assert!(journal.find(book, &lesson(1), &View::base()).await.unwrap().is_some());
    let chains = journal.chains(None, Some(book), None, 10).await.unwrap();
    assert_eq!(chains.iter().map(|chain| chain.count).collect::<Vec<_>>(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_a_change_whose_commit_is_lost_or_not_answered_is_made_once_and_keeps_its_lease() {
    for trap in [Trap::Before, Trap::After] {
        let (_proxy, journal, book, verdict) = trapped(trap).await;
        let Ok(Verdict::Committed(applied)) = verdict else { panic!("{trap:?}: {verdict:?}") };
        assert!(applied[0].publication.is_some(), "{trap:?}");
        assert_there_once(&journal, &book).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_a_change_whose_fate_cannot_be_learned_is_said_to_be_unknown() {
    let (proxy, journal, book, verdict) = trapped(Trap::AfterAndRefuse).await;
    assert!(verdict.unwrap_err().outcome_unknown);
    proxy.heal();
    assert_there_once(&journal, &book).await;
}
