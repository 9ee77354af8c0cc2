//! Number of times that a call waits for PostgreSQL.

use panaversity_model::ports::{Changes, Files};
use panaversity_model::{Layer, View};
use panaversity_testkit::postgres::shared;
use panaversity_testkit::proxy::Proxy;
use panaversity_testkit::samples::{book, change_set, draft, lesson, write};

use crate::engines::open;

// On one thread, what is sent together leaves in one piece.
#[tokio::test]
async fn a_change_waits_twice_for_postgresql_a_read_once_and_an_audit_entry_twice() {
    let proxy = Proxy::to(shared().address()).await;
    let url = shared().create_database();
    let url = url.replace(&shared().address().to_string(), &proxy.address().to_string());
    let (_, journal) = open(&url).await;
    let (book, mut trips) = (book(), Vec::new());
    // The first statements of each connection are prepared; each lane keeps another connection.
    for n in 0..40 {
        let before = proxy.questions();
        let set = change_set(&book, &Layer::Base, vec![write(&lesson(n), b"text", None)]);
        journal.commit(set).await.unwrap();
        let committed = proxy.questions();
        journal.find(&book, &lesson(n), &View::base()).await.unwrap().unwrap();
        let found = proxy.questions();
        journal.append(draft(Some(&book), Some(&lesson(n)), &Layer::Base)).await.unwrap();
        trips.push((committed - before, found - committed, proxy.questions() - found));
    }
    assert_eq!(trips.last(), Some(&(2, 1, 2)), "{trips:?}");
}
