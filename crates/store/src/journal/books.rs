//! Books.

use async_trait::async_trait;
use panaversity_model::audit::AuditDraft;
use panaversity_model::ports::{Books, Creation};
use panaversity_model::{Book, BookId, Fault, Schema, Timestamp};

use super::{SqlJournal, retried, rows, transaction};
use crate::database::{Database, Dialect, Durability, Session, Sql, SqlError, Value, fault};

const BOOK: &str = "SELECT book_id, schema, created_at FROM books";

#[async_trait]
impl Books for SqlJournal {
    async fn book(&self, id: &BookId) -> Result<Option<Book>, Fault> {
        let sql = format!("{BOOK} WHERE book_id = $1");
        let found = self.read("read a book", &sql, vec![id.as_str().into()]).await?;
        found.first().map(rows::book).transpose()
    }

    async fn books(&self, after: Option<&BookId>, limit: usize) -> Result<Vec<Book>, Fault> {
        let sql = format!("{BOOK} WHERE book_id > $1 ORDER BY book_id LIMIT $2");
        let after = after.map_or("", |id| id.as_str());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self.read("list books", &sql, vec![after.into(), Value::Int(limit)]).await?;
        found.iter().map(rows::book).collect()
    }

    async fn create_book(
        &self,
        id: &BookId,
        schema: Option<Schema>,
        record: &AuditDraft,
    ) -> Result<Creation, Fault> {
        let (fate, row) = retried("create a book", || async {
            let mut session = self.db.begin(Durability::PowerCut).await?;
            let created = create(&self.db, &mut session, id, schema).await?;
            if matches!(created.0, CreationKind::New | CreationKind::Changed) {
                transaction::record(&self.db, &mut session, record).await?;
            }
            session.commit().await?;
            Ok(created)
        })
        .await?;
        let book = rows::book(&row)?;
        Ok(match fate {
            CreationKind::New => Creation::Created(book),
            CreationKind::Changed => Creation::Changed(book),
            CreationKind::Known => Creation::Existed(book),
            CreationKind::Fixed => Creation::Fixed(book),
        })
    }

    async fn delete_book(&self, id: &BookId, record: &AuditDraft) -> Result<bool, Fault> {
        retried("delete a book", || async {
            let mut session = self.db.begin(Durability::PowerCut).await?;
            lock(&self.db, &mut session, id).await?;
            let delete = "DELETE FROM books WHERE book_id = $1 AND NOT EXISTS \
                          (SELECT 1 FROM file_journal f WHERE f.book_id = $1)";
            if session.execute(delete, vec![id.as_str().into()]).await? == 0 {
                return Ok(false);
            }
            // A book that is created under this id later is another one.
            let hooks =
                "DELETE FROM hook_dead_letters WHERE hook_id IN (SELECT id FROM hooks WHERE book_id = $1)";
            session.execute(hooks, vec![id.as_str().into()]).await?;
            session.execute("DELETE FROM hooks WHERE book_id = $1", vec![id.as_str().into()]).await?;
            transaction::record(&self.db, &mut session, record).await?;
            session.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn last_changed(&self, id: &BookId) -> Result<Option<Timestamp>, Fault> {
        // The audit log never loses an entry, so deletions count too; its index of changes finds the newest
        // directly. An entry without hashes changed no file; one without a path is about the book itself.
        let sql = "SELECT timestamp FROM audit_log WHERE book_id = $1 AND user_id = '__base__' \
                   AND change_id IS NOT NULL \
                   AND (path = '' OR coalesce(new_content_hash, old_content_hash) IS NOT NULL) \
                   ORDER BY timestamp DESC LIMIT 1";
        let found = self.read("read when a book has changed", sql, vec![id.as_str().into()]).await?;
        found
            .first()
            .map(|row| row.time("timestamp"))
            .transpose()
            .map_err(|error| fault("read a time", &error))
    }

    async fn journal_counts(&self) -> Result<Vec<(BookId, i64)>, Fault> {
        let sql = "SELECT b.book_id, (SELECT count(*) FROM file_journal f WHERE f.book_id = b.book_id) AS files \
                   FROM books b ORDER BY b.book_id";
        let found = self.read("count journal rows", sql, Vec::new()).await?;
        found
            .iter()
            .map(|row| {
                let count = row.int("files").map_err(|error| fault("count journal rows", &error))?;
                let id = row.text("book_id").map_err(|error| fault("count journal rows", &error))?;
                Ok((rows::book_id(&id)?, count))
            })
            .collect()
    }
}

enum CreationKind {
    New,
    Changed,
    Known,
    Fixed,
}

/// Acquires the lock that commits of this book share, so that no file is added while the book is created,
/// changed or deleted.
async fn lock(db: &Database, session: &mut Session, id: &BookId) -> Sql<()> {
    if db.dialect() == Dialect::Postgres {
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        session.execute(lock, vec![id.as_str().into()]).await?;
    }
    Ok(())
}

/// Creates a book or changes its schema, under its [`lock`].
async fn create(
    db: &Database,
    session: &mut Session,
    id: &BookId,
    schema: Option<Schema>,
) -> Sql<(CreationKind, crate::database::Row)> {
    lock(db, session, id).await?;
    let insert = format!(
        "INSERT INTO books (book_id, schema, created_at) VALUES ($1, $2, {}) ON CONFLICT (book_id) DO NOTHING",
        db.now_sql()
    );
    let wanted = schema.unwrap_or_default().as_str();
    let fresh = session.execute(insert, vec![id.as_str().into(), wanted.into()]).await? > 0;
    let select = format!("{BOOK} WHERE book_id = $1");
    let row = session.row(select.clone(), vec![id.as_str().into()]).await?.ok_or(SqlError::RowNotFound)?;
    if fresh {
        return Ok((CreationKind::New, row));
    }
    if schema.is_none() || row.text("schema")? == wanted {
        return Ok((CreationKind::Known, row));
    }
    // Every strict path is a docusaurus path, so files in overlays prevent only the change to strict;
    // counting them in the other direction would reveal their existence.
    let update = "UPDATE books SET schema = $2 WHERE book_id = $1 AND NOT EXISTS \
                  (SELECT 1 FROM file_journal f WHERE f.book_id = $1 AND (f.user_id = '__base__' OR $2 = 'strict'))";
    if session.execute(update, vec![id.as_str().into(), wanted.into()]).await? == 0 {
        return Ok((CreationKind::Fixed, row));
    }
    let row = session.row(select, vec![id.as_str().into()]).await?.ok_or(SqlError::RowNotFound)?;
    Ok((CreationKind::Changed, row))
}
