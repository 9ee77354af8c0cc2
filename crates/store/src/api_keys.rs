//! API keys in the database.

use async_trait::async_trait;
use panaversity_model::api_key::{ApiKey, ApiKeyHash, ApiKeyId, ApiKeyList, NewApiKey};
use panaversity_model::permission::Scope;
use panaversity_model::ports::ApiKeys;
use panaversity_model::{AgentId, Fault, Timestamp};

use crate::database::{Database, Durability, Row, Session, Sql, SqlError, Value, fault};
use crate::journal::retried;

/// Columns read by [`api_key`].
const API_KEY: &str = "hash, agent_id, scopes, created_at, expires_at, revoked_at";

/// The API keys of a migrated database.
#[derive(Clone)]
pub struct SqlApiKeys {
    db: Database,
}

impl SqlApiKeys {
    /// The keys of this database.
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    /// Runs one statement that writes and returns keys, durably.
    async fn write(&self, what: &str, sql: &str, values: Vec<Value>) -> Result<Option<ApiKey>, Fault> {
        let row = retried(what, || async {
            let mut session = self.db.begin(Durability::PowerCut).await?;
            let row = session.row(sql, values.clone()).await?;
            session.commit().await?;
            Ok(row)
        })
        .await?;
        row.as_ref().map(api_key).transpose()
    }
}

#[async_trait]
impl ApiKeys for SqlApiKeys {
    async fn create_api_key(&self, key: &NewApiKey) -> Result<ApiKey, Fault> {
        let sql = format!(
            "INSERT INTO api_keys (id, hash, agent_id, scopes, expires_at, created_at) \
             VALUES ($1, $2, $3, $4, $5, {}) RETURNING {API_KEY}",
            self.db.now_sql()
        );
        let values = vec![
            key.hash.id().as_str().into(),
            key.hash.to_string().into(),
            key.agent.as_str().into(),
            Scope::format_list(&key.scopes).into(),
            key.expires_at.into(),
        ];
        let created = self.write("create an API key", &sql, values).await?;
        created.ok_or_else(|| Fault::database("a created API key was not returned"))
    }

    async fn api_keys(&self) -> Result<ApiKeyList, Fault> {
        let now = format!("SELECT {} AS now", self.db.now_sql());
        let keys = format!("SELECT {API_KEY} FROM api_keys ORDER BY created_at, id");
        let read = async {
            let mut session: Session = self.db.read().await?;
            let now = session.row(now, Vec::new()).await?;
            let rows = session.rows(keys, Vec::new()).await?;
            Ok::<_, SqlError>((now.ok_or(SqlError::RowNotFound)?.time("now")?, rows))
        };
        let (now, rows): (Timestamp, Vec<Row>) =
            read.await.map_err(|error| fault("read the API keys", &error))?;
        Ok(ApiKeyList { now, keys: rows.iter().map(api_key).collect::<Result<_, _>>()? })
    }

    async fn revoke_api_key(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, Fault> {
        let sql = format!(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, {}) WHERE id = $1 RETURNING {API_KEY}",
            self.db.now_sql()
        );
        self.write("revoke an API key", &sql, vec![id.as_str().into()]).await
    }
}

fn api_key(row: &Row) -> Result<ApiKey, Fault> {
    let read = || -> Sql<Option<ApiKey>> {
        let (hash, agent) = (row.text("hash")?, row.text("agent_id")?);
        let (Some(hash), Ok(agent)) = (ApiKeyHash::from_stored(&hash), AgentId::parse(&agent)) else {
            return Ok(None);
        };
        let scopes = Scope::parse_list(&row.text("scopes")?);
        let granted = NewApiKey { hash, agent, scopes, expires_at: row.optional_time("expires_at")? };
        let (created_at, revoked_at) = (row.time("created_at")?, row.optional_time("revoked_at")?);
        Ok(Some(ApiKey { granted, created_at, revoked_at }))
    };
    let read = read().map_err(|error| Fault::corrupt(format!("read an API key: {error}")))?;
    read.ok_or_else(|| Fault::corrupt("a stored API key has no hash or agent"))
}
