//! API keys behave the same on both databases (I11).

use panaversity_model::AgentId;
use panaversity_model::api_key::{API_KEY_RANDOM_BYTES, ApiKeyId, ApiKeySecret, ApiKeyStatus, NewApiKey};
use panaversity_model::permission::Scope;
use panaversity_model::ports::ApiKeys;
use panaversity_store::SqlApiKeys;
use tempfile::TempDir;

use crate::engines::{open, sqlite_url};

fn new_key(byte: u8) -> NewApiKey {
    NewApiKey {
        hash: ApiKeySecret::from_random([byte; API_KEY_RANDOM_BYTES]).hash(),
        agent: AgentId::parse("writer-7 ö").unwrap(),
        scopes: Scope::parse_list("write:ai-python overlay:any"),
        expires_at: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i11_a_key_is_kept_as_it_was_made_and_revoked_once() {
    let folder = TempDir::new().unwrap();
    let postgres = panaversity_testkit::postgres::shared().create_database();
    for url in [sqlite_url(&folder), postgres.clone(), format!("{postgres}?pgbouncer=true")] {
        let (db, journal) = open(&url).await;
        let keys = SqlApiKeys::new(db);
        for old in keys.api_keys().await.unwrap().keys {
            assert!(url.contains("pgbouncer"), "a new database has no keys, but {old:?}");
        }
        let byte = if url.contains("pgbouncer") { 10 } else { 0 };
        let before = keys.api_keys().await.unwrap().now;
        let first = keys.create_api_key(&new_key(byte)).await.unwrap();
        assert_eq!((&first.granted, first.revoked_at), (&new_key(byte), None));
        assert!(first.created_at >= before);
        let ending = NewApiKey { expires_at: Some(before), ..new_key(byte + 1) };
        keys.create_api_key(&ending).await.unwrap();

        let id = first.granted.hash.id();
        let revoked = keys.revoke_api_key(&id).await.unwrap().unwrap();
        assert!(revoked.revoked_at.unwrap() >= first.created_at);
        assert_eq!(keys.revoke_api_key(&id).await.unwrap().unwrap(), revoked, "the first time counts");
        let unknown = ApiKeyId::parse("0123456789ab").unwrap();
        assert_eq!(keys.revoke_api_key(&unknown).await.unwrap(), None);

        let listed = keys.api_keys().await.unwrap();
        let newest = &listed.keys[listed.keys.len() - 2..];
        assert_eq!(newest[0], revoked, "oldest first");
        assert_eq!(newest[1].granted, ending);
        let states = newest.iter().map(|key| key.status(listed.now));
        assert_eq!(states.collect::<Vec<_>>(), [ApiKeyStatus::Revoked, ApiKeyStatus::Expired]);
        assert!(keys.create_api_key(&new_key(byte)).await.is_err(), "one key exists once");
        journal.close().await;
    }
}
