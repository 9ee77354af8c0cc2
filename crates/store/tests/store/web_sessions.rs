//! Sign-ins of browsers behave the same on both databases (I11).

use std::time::Duration;

use panaversity_model::api_key::{API_KEY_RANDOM_BYTES, ApiKeySecret};
use panaversity_model::permission::{Principal, Scope};
use panaversity_model::ports::{ApiKeys, WebSessions};
use panaversity_model::web_session::{
    MOST_WEB_SESSIONS, WEB_SESSION_RANDOM_BYTES, WebSession, WebSessionHash, WebSessionSecret,
};
use panaversity_model::{AgentId, Timestamp, UserId};
use panaversity_store::{SqlApiKeys, SqlWebSessions};
use tempfile::TempDir;

use crate::engines::{open, sqlite_url};

fn session(byte: u8, agent: &str, expires_at: Timestamp) -> WebSession {
    let user = UserId::parse("ann").unwrap();
    let scopes = Scope::parse_list("write:ai-python overlay:any");
    WebSession {
        hash: hash(byte),
        principal: Principal::limited(AgentId::parse(agent).unwrap(), scopes, Some(user)),
        api_key: None,
        expires_at,
    }
}

fn hash(byte: u8) -> WebSessionHash {
    WebSessionSecret::from_random([byte; WEB_SESSION_RANDOM_BYTES]).hash()
}

#[tokio::test(flavor = "multi_thread")]
async fn i11_a_session_is_kept_as_it_was_begun_until_it_ends() {
    let folder = TempDir::new().unwrap();
    let postgres = panaversity_testkit::postgres::shared().create_database();
    for url in [sqlite_url(&folder), postgres] {
        let (db, journal) = open(&url).await;
        let now = SqlApiKeys::new(db.clone()).api_keys().await.unwrap().now;
        let later = now.after(Duration::from_hours(1));
        let sessions = SqlWebSessions::new(db);

        let of_token = session(1, "reader ö", later);
        let key = ApiKeySecret::from_random([7; API_KEY_RANDOM_BYTES]).hash();
        let agent = AgentId::parse("writer").unwrap();
        let principal = Principal::limited(agent.clone(), Scope::parse_list("admin"), None);
        let of_key = WebSession { principal, api_key: Some(key), ..session(2, "writer", later) };
        let over = session(3, "reader ö", now);
        for begun in [&of_token, &of_key, &over] {
            sessions.begin_web_session(begun).await.unwrap();
        }
        assert_eq!(sessions.web_session(hash(1)).await.unwrap(), Some(of_token.clone()));
        assert_eq!(sessions.web_session(hash(2)).await.unwrap(), Some(of_key));
        assert_eq!(sessions.web_session(hash(3)).await.unwrap(), None, "its time is over");
        assert_eq!(sessions.web_session(hash(4)).await.unwrap(), None);
        assert!(sessions.begin_web_session(&of_token).await.is_err(), "one secret begins one session");

        sessions.end_web_session(hash(1)).await.unwrap();
        sessions.end_web_session(hash(1)).await.unwrap();
        assert_eq!(sessions.web_session(hash(1)).await.unwrap(), None);
        assert_eq!(sessions.end_web_sessions(Some(&agent)).await.unwrap(), 1);
        assert_eq!(sessions.web_session(hash(2)).await.unwrap(), None);
        journal.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i11_an_agent_has_a_bounded_number_of_sessions_and_the_oldest_end() {
    let folder = TempDir::new().unwrap();
    let postgres = panaversity_testkit::postgres::shared().create_database();
    for url in [sqlite_url(&folder), postgres] {
        let (db, journal) = open(&url).await;
        let now = SqlApiKeys::new(db.clone()).api_keys().await.unwrap().now;
        let later = now.after(Duration::from_hours(1));
        let sessions = SqlWebSessions::new(db);
        sessions.begin_web_session(&session(255, "another", later)).await.unwrap();
        let begun = u8::try_from(MOST_WEB_SESSIONS).unwrap() + 3;
        for byte in 0..begun {
            sessions.begin_web_session(&session(byte, "reader", later)).await.unwrap();
        }
        assert!(sessions.web_session(hash(begun - 1)).await.unwrap().is_some(), "the newest");
        assert!(sessions.web_session(hash(255)).await.unwrap().is_some(), "another agent's");
        assert_eq!(sessions.end_web_sessions(None).await.unwrap(), u64::from(MOST_WEB_SESSIONS) + 1);
        journal.close().await;
    }
}
