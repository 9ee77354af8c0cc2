//! Signing keys of links are the same for all servers of a store, on both databases (I11).

use futures::future::join_all;
use panaversity_model::ports::LinkKeys;
use panaversity_store::{SqlLinkKeys, migrations};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use crate::engines::{open, sqlite_url};

/// The keys, newest first.
async fn keys(store: &SqlLinkKeys) -> Vec<String> {
    let list = store.link_keys().await.unwrap();
    assert!(list.keys.is_sorted_by_key(|key| std::cmp::Reverse(key.created_at)));
    assert!(list.keys.iter().all(|key| key.created_at <= list.now));
    list.keys.iter().map(|key| key.key.expose_secret().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn i11_all_servers_sign_with_the_key_that_the_first_has_generated_until_it_is_rotated() {
    let folder = TempDir::new().unwrap();
    for url in [sqlite_url(&folder), panaversity_testkit::postgres::shared().create_database()] {
        let ((one, _), (other, _)) = (open(&url).await, open(&url).await);
        let (one, other) = (SqlLinkKeys::new(one), SqlLinkKeys::new(other));
        let read = join_all([&one, &other, &one, &other].map(keys)).await;
        assert!(read.iter().all(|keys| keys.len() == 1 && *keys == read[0]), "{read:?}");
        let first = read[0][0].clone();
        let digits = first.bytes().collect::<std::collections::BTreeSet<_>>().len();
        assert!(first.len() == 64 && digits > 8, "64 digits that nobody guesses");
        other.rotate_link_key(false).await.unwrap();
        let rotated = keys(&one).await;
        assert!(rotated.len() == 2 && rotated[1] == first && rotated[0] != first, "{rotated:?}");
        one.rotate_link_key(true).await.unwrap();
        let alone = keys(&other).await;
        assert!(alone.len() == 1 && !rotated.contains(&alone[0]), "{alone:?}");
        one.rotate_link_key(false).await.unwrap();
        let rotated = keys(&one).await;
        let first = alone[0].clone();
        if url.starts_with("postgres") {
            let age = format!(
                "UPDATE signing_keys SET created_at = clock_timestamp() - interval '9 days' WHERE key = '{}'",
                rotated[0]
            );
            panaversity_testkit::postgres::shared().query(&url, &age);
            panaversity_testkit::postgres::shared().query(&url, &format!("UPDATE signing_keys SET created_at = clock_timestamp() - interval '20 days' WHERE key = '{first}'"));
            one.rotate_link_key(false).await.unwrap();
            let kept = keys(&one).await;
            assert!(
                kept.len() == 2 && kept[1] == rotated[0],
                "one that was replaced 9 days ago is gone: {kept:?}"
            );
        }
    }
}

/// A link of before the upgrade works after it, and one of after it after a downgrade.
#[tokio::test(flavor = "multi_thread")]
async fn the_signing_key_is_kept_by_the_migration_up_and_down() {
    let postgres = panaversity_testkit::postgres::shared();
    let url = postgres.create_database();
    let (db, journal) = open(&url).await;
    migrations::downgrade(&db, 5, migrations::DowngradeConsent::default()).await.unwrap();
    postgres.query(&url, "UPDATE store SET signing_key = repeat('ab', 32)");
    migrations::upgrade(&db, None).await.unwrap();
    let store = SqlLinkKeys::new(db.clone());
    assert_eq!(keys(&store).await, ["ab".repeat(32)]);
    store.rotate_link_key(false).await.unwrap();
    let newest = keys(&store).await[0].clone();
    migrations::downgrade(&db, 5, migrations::DowngradeConsent::default()).await.unwrap();
    assert_eq!(postgres.query(&url, "SELECT signing_key FROM store").trim(), newest);
    journal.close().await;
}
