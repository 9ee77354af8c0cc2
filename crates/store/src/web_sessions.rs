//! Sign-ins of browsers in the database.

use async_trait::async_trait;
use panaversity_model::api_key::ApiKeyHash;
use panaversity_model::permission::{Principal, Scope};
use panaversity_model::ports::WebSessions;
use panaversity_model::web_session::{MOST_WEB_SESSIONS, WebSession, WebSessionHash};
use panaversity_model::{AgentId, Fault, UserId};

use crate::database::{Database, Durability, Row, Sql, fault};
use crate::journal::{retried, write};

/// The sign-ins of a migrated database.
#[derive(Clone)]
pub struct SqlWebSessions {
    db: Database,
}

impl SqlWebSessions {
    /// The sign-ins of this database.
    pub fn new(db: Database) -> Self {
        Self { db }
    }
}

#[async_trait]
impl WebSessions for SqlWebSessions {
    async fn begin_web_session(&self, new: &WebSession) -> Result<(), Fault> {
        let now = self.db.now_sql();
        let agent = new.principal.agent.as_str();
        let ended = format!("DELETE FROM web_sessions WHERE expires_at <= {now}");
        let most = MOST_WEB_SESSIONS - 1;
        let too_many = format!(
            "DELETE FROM web_sessions WHERE hash IN (SELECT hash FROM web_sessions WHERE agent_id = $1 \
             ORDER BY created_at DESC, hash LIMIT 1000000 OFFSET {most})"
        );
        let insert = format!(
            "INSERT INTO web_sessions (hash, agent_id, scopes, user_id, api_key, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, {now}, $6)"
        );
        let values = vec![
            new.hash.to_string().into(),
            agent.into(),
            Scope::format_list(new.principal.scopes().unwrap_or_default()).into(),
            new.principal.user().map(|user| user.as_str().to_owned()).into(),
            new.api_key.map(|key| key.to_string()).into(),
            new.expires_at.into(),
        ];
        retried("begin a web session", || async {
            let mut session = self.db.begin(Durability::PowerCut).await?;
            session.queue(ended.as_str(), Vec::new());
            session.queue(too_many.as_str(), vec![agent.into()]);
            session.queue(insert.as_str(), values.clone());
            session.commit().await
        })
        .await
    }

    async fn web_session(&self, hash: WebSessionHash) -> Result<Option<WebSession>, Fault> {
        let sql = format!(
            "SELECT hash, agent_id, scopes, user_id, api_key, expires_at FROM web_sessions \
             WHERE hash = $1 AND expires_at > {}",
            self.db.now_sql()
        );
        let read = async { self.db.read().await?.row(sql, vec![hash.to_string().into()]).await };
        let row = read.await.map_err(|error| fault("read a web session", &error))?;
        row.as_ref().map(web_session).transpose()
    }

    async fn end_web_session(&self, hash: WebSessionHash) -> Result<(), Fault> {
        let delete = "DELETE FROM web_sessions WHERE hash = $1";
        let values = vec![hash.to_string().into()];
        write(&self.db, Durability::PowerCut, "end a web session", delete, values).await.map(drop)
    }

    async fn end_web_sessions(&self, agent: Option<&AgentId>) -> Result<u64, Fault> {
        let (delete, values) = match agent {
            Some(agent) => ("DELETE FROM web_sessions WHERE agent_id = $1", vec![agent.as_str().into()]),
            None => ("DELETE FROM web_sessions", Vec::new()),
        };
        write(&self.db, Durability::PowerCut, "end web sessions", delete, values).await
    }
}

fn web_session(row: &Row) -> Result<WebSession, Fault> {
    let read = || -> Sql<Option<WebSession>> {
        let (hash, agent) = (row.text("hash")?, row.text("agent_id")?);
        let (user, key) = (row.optional_text("user_id")?, row.optional_text("api_key")?);
        let user = user.as_deref().map(UserId::parse).transpose();
        let api_key = key.as_deref().map(|key| ApiKeyHash::from_stored(key).ok_or(())).transpose();
        let (Some(hash), Ok(agent), Ok(user), Ok(api_key)) =
            (WebSessionHash::from_stored(&hash), AgentId::parse(&agent), user, api_key)
        else {
            return Ok(None);
        };
        let principal = Principal::limited(agent, Scope::parse_list(&row.text("scopes")?), user);
        Ok(Some(WebSession { hash, principal, api_key, expires_at: row.time("expires_at")? }))
    };
    let read = read().map_err(|error| Fault::corrupt(format!("read a web session: {error}")))?;
    read.ok_or_else(|| Fault::corrupt("a stored web session has no hash, agent, user or key"))
}
