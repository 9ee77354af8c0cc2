//! One connection to PostgreSQL and its prepared statements. A task of its own reads and writes the
//! socket; it ends when the connection is dropped, after the answers to all that was sent.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Instant;

use futures::future::{join_all, maybe_done};
use futures::{StreamExt, TryStreamExt, poll, stream};
use quick_cache::unsync::Cache;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::Type;
use tokio_postgres::{
    AsyncMessage, Client, NoTls, SimpleQueryMessage, SimpleQueryRow, Socket, Statement as PreparedStatement,
};
use tokio_util::task::TaskTracker;

use super::monitor::ConnectionMonitor;
use super::tls;
use crate::database::error::{Sql, SqlError};
use crate::database::session::Answer;
use crate::database::sql::{Row, Statement, Value};
use crate::database::url::postgres::{ConnectOptions, TlsMode};

/// Number of prepared statements kept per connection.
const STATEMENTS: usize = 512;

/// How connections are made, whichever server they are made to.
#[derive(Clone)]
pub(in crate::database) struct ConnectionSetup {
    /// Prepared statements are named and kept.
    pub(super) keeps_statements: bool,
    /// The tasks of all connections.
    pub(super) tasks: TaskTracker,
    /// Takes the payloads of notifications, for a connection that listens.
    pub(super) heard: Option<mpsc::Sender<String>>,
}

/// What is sent to the server.
pub(super) enum Request<'a> {
    /// Statements without values.
    Script(&'a str),
    Prepared(PreparedStatement, &'a [Value]),
    /// A statement that is not kept.
    Text(&'a Statement),
}

/// An open connection.
pub(in crate::database) struct PostgresConnection {
    client: Client,
    /// By their text; `None` behind a transaction pooler.
    statements: Option<Cache<String, PreparedStatement>>,
    task: AbortHandle,
    pub(super) made_at: Instant,
}

impl PostgresConnection {
    /// Connects and authenticates. With `sslmode=allow` TLS is tried after a refusal without it.
    pub(in crate::database) async fn open(options: &ConnectOptions, setup: &ConnectionSetup) -> Sql<Self> {
        let mode = options.tls.mode.unwrap_or(TlsMode::Prefer);
        let encrypted = async |ssl_mode| {
            let connector = tls::connector(&options.tls, mode).await?;
            Self::open_with(options, ssl_mode, connector, setup).await
        };
        match mode {
            TlsMode::Disable => Self::open_with(options, SslMode::Disable, NoTls, setup).await,
            TlsMode::Allow => match Self::open_with(options, SslMode::Disable, NoTls, setup).await {
                Err(refused @ SqlError::Refused { .. }) => {
                    encrypted(SslMode::Require).await.map_err(|_| refused)
                }
                result => result,
            },
            TlsMode::Prefer => encrypted(SslMode::Prefer).await,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => encrypted(SslMode::Require).await,
        }
    }

    async fn open_with<T>(
        options: &ConnectOptions,
        ssl_mode: SslMode,
        tls: T,
        setup: &ConnectionSetup,
    ) -> Sql<Self>
    where
        T: MakeTlsConnect<Socket> + Send,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, mut connection) = options.config.clone().ssl_mode(ssl_mode).connect(tls).await?;
        // Its error reaches the caller whose answer it ends.
        let task = match setup.heard.clone() {
            None => setup.tasks.spawn(async move { drop(connection.await) }),
            Some(heard) => setup.tasks.spawn(async move {
                let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
                while let Some(Ok(message)) = messages.next().await {
                    if let AsyncMessage::Notification(notification) = message {
                        // What is dropped is found by those who look by themselves.
                        let _ = heard.try_send(notification.payload().to_owned());
                    }
                }
            }),
        };
        let task = task.abort_handle();
        let statements = setup.keeps_statements.then(|| Cache::new(STATEMENTS));
        Ok(Self { client, statements, task, made_at: Instant::now() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Closes the connection without waiting for the answers to what was sent.
    pub(super) fn abort(self) {
        self.task.abort();
    }

    /// Runs a script of several statements.
    pub(super) async fn script(&self, sql: &str) -> Sql<()> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// The single row of an unprepared query, as text.
    pub(in crate::database) async fn text_row(&self, sql: &str) -> Sql<SimpleQueryRow> {
        let messages = self.client.simple_query(sql).await?;
        let row = messages.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        row.ok_or(SqlError::RowNotFound)
    }

    /// Requests for statements. Those that are not prepared yet are prepared, together.
    pub(super) async fn prepared<'a>(&mut self, statements: &'a [Statement]) -> Sql<Vec<Request<'a>>> {
        let Some(known) = &mut self.statements else {
            return Ok(statements.iter().map(Request::Text).collect());
        };
        let mut unknown: BTreeMap<&str, &[Value]> = BTreeMap::new();
        for Statement { sql, values } in
            statements.iter().filter(|statement| !known.contains_key(&statement.sql))
        {
            unknown.insert(sql, values);
        }
        let client = &self.client;
        let prepared = unknown.into_iter().map(|(sql, values)| async move {
            let types: Vec<Type> = values.iter().map(Value::sql_type).collect();
            (sql, client.prepare_typed(sql, &types).await)
        });
        let mut fresh = BTreeMap::new();
        for (sql, prepared) in join_all(prepared).await {
            let prepared = prepared?;
            known.insert(sql.to_owned(), prepared.clone());
            fresh.insert(sql, prepared);
        }
        let request = |Statement { sql, values }: &'a Statement| {
            let prepared = fresh.get(sql.as_str()).or_else(|| known.get(sql)).cloned();
            prepared.map(|prepared| Request::Prepared(prepared, values)).ok_or(SqlError::NoAnswer)
        };
        statements.iter().map(request).collect()
    }

    /// Sends requests at once, in their order; returns the answers, each waited for within the limit. After
    /// one that does not come, no other is waited for.
    pub(super) async fn pipeline(
        &self,
        requests: Vec<Request<'_>>,
        monitor: &ConnectionMonitor,
    ) -> Vec<Sql<Answer>> {
        let answers = requests.into_iter().map(|request| maybe_done(self.answer(request)));
        let mut pending: Vec<_> = answers.map(Box::pin).collect();
        // The first poll of a request sends it.
        for answer in &mut pending {
            let _ = poll!(answer.as_mut());
        }
        let mut answers = Vec::with_capacity(pending.len());
        let mut is_silent = false;
        for mut answer in pending {
            let answered = async {
                answer.as_mut().await;
                answer.as_mut().take_output().unwrap_or(Err(SqlError::NoAnswer))
            };
            let answered = if is_silent { Err(SqlError::NoAnswer) } else { monitor.within(answered).await };
            is_silent = matches!(answered, Err(SqlError::NoAnswer));
            answers.push(answered);
        }
        answers
    }

    /// Sends a request and waits for its answer.
    async fn answer(&self, request: Request<'_>) -> Sql<Answer> {
        let rows = match request {
            Request::Script(sql) => {
                self.client.batch_execute(sql).await?;
                return Ok(Answer::default());
            }
            Request::Prepared(statement, values) => self.client.query_raw(&statement, values).await?,
            Request::Text(Statement { sql, values }) => {
                let typed = values.iter().map(|value| (value, value.sql_type()));
                self.client.query_typed_raw(sql, typed).await?
            }
        };
        let mut rows = pin!(rows);
        let mut answer = Answer::default();
        while let Some(row) = rows.try_next().await? {
            answer.rows.push(Row::Postgres(row));
        }
        answer.changed = rows.rows_affected().unwrap_or(0);
        Ok(answer)
    }
}
