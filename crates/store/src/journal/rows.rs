//! Conversion of rows into values. A row that this program cannot have written is `CORRUPT`, never a
//! panic.

use panaversity_model::audit::{AuditEntry, ChainKey};
use panaversity_model::blob::{Blob, BlobLocation, BlobState, StoredBlob};
use panaversity_model::chain::ChainRecord;
use panaversity_model::file::{FileRecord, Found};
use panaversity_model::publication::FileKey;
use panaversity_model::{AgentId, Book, BookId, BookPath, ContentHash, Fault, Layer, Refusal, Schema};

use crate::database::{Row, Sql};

/// Columns read by [`file`], of a journal row called `f`.
pub(super) const FILE: &str =
    "f.path, f.user_id, f.sha256, f.size, f.last_written_at, f.storage_backend, f.version";
/// Number of columns in [`FILE`].
pub(super) const FILE_COLUMNS: usize = 7;
/// Columns read by [`blob`], of a blob row called `b`.
pub(super) const BLOB: &str = "b.hash, b.size, b.crc32, b.state, b.deflated, b.chunks";
/// Columns read by [`entry`].
pub(super) const ENTRY: &str = "id, timestamp, agent_id, operation, book_id, path, user_id, status, error_code, \
    error_message, execution_time_ms, request_id, change_id, old_content_hash, new_content_hash, prev_hash, entry_hash";

/// Reads a whole row by `read`; `what` is named in the fault if a column does not decode.
pub(super) fn read<T>(what: &str, read: impl FnOnce() -> Sql<Result<T, Fault>>) -> Result<T, Fault> {
    read().map_err(|error| Fault::corrupt(format!("{what}: {error}")))?
}

/// Columns read by [`file`], of a journal row with another alias.
pub(super) fn file_columns(name: &str) -> String {
    FILE.replace("f.", &format!("{name}."))
}

fn foreign(what: &str, refusal: &Refusal) -> Fault {
    Fault::corrupt(format!("a stored {what} does not parse: {refusal}"))
}

pub(super) fn path(text: &str) -> Result<BookPath, Fault> {
    BookPath::parse(text).map_err(|refusal| foreign("path", &refusal))
}

pub(super) fn book_id(text: &str) -> Result<BookId, Fault> {
    BookId::parse(text).map_err(|refusal| foreign("book", &refusal))
}

pub(super) fn layer(text: &str) -> Result<Layer, Fault> {
    Layer::from_stored(text).map_err(|refusal| foreign("user", &refusal))
}

pub(super) fn schema(text: &str) -> Result<Schema, Fault> {
    Schema::parse(text).map_err(|refusal| foreign("schema", &refusal))
}

pub(super) fn hash(text: &str) -> Result<ContentHash, Fault> {
    ContentHash::from_hex(text)
        .ok_or_else(|| Fault::corrupt(format!("a stored hash does not parse: `{text}`")))
}

pub(super) fn agent(text: &str) -> Result<AgentId, Fault> {
    AgentId::parse(text).map_err(|refusal| foreign("agent", &refusal))
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A journal row, from column `at` on.
pub(super) fn file(row: &Row, at: usize) -> Result<FileRecord, Fault> {
    read("read a journal row", || {
        let (raw_path, user, raw_hash) = (row.text(at)?, row.text(at + 1)?, row.text(at + 2)?);
        let (size, written_at) = (unsigned(row.int(at + 3)?), row.time(at + 4)?);
        let (storage, version) = (row.text(at + 5)?, row.int(at + 6)?);
        Ok((|| {
            let (path, layer, hash) = (path(&raw_path)?, layer(&user)?, hash(&raw_hash)?);
            Ok(FileRecord { path, layer, hash, size, written_at, storage, version })
        })())
    })
}

/// A blob row, from column `at` on.
pub(super) fn blob(row: &Row, at: usize) -> Result<StoredBlob, Fault> {
    read("read a blob row", || {
        let (raw_hash, size) = (row.text(at)?, unsigned(row.int(at + 1)?));
        let crc32 = u32::try_from(row.int(at + 2)?).unwrap_or(0);
        let (state, deflated, chunks) =
            (row.text(at + 3)?, row.optional_bytes(at + 4)?, row.optional_bytes(at + 5)?);
        Ok((|| {
            let state = BlobState::from_stored(&state)
                .ok_or_else(|| Fault::corrupt(format!("a blob is in the unknown state `{state}`")))?;
            let location = match deflated {
                Some(deflated) => BlobLocation::Inline(deflated),
                None => BlobLocation::Object(chunk_hashes(&chunks.unwrap_or_default())),
            };
            Ok(StoredBlob { blob: Blob { hash: hash(&raw_hash)?, size, crc32, location }, state })
        })())
    })
}

fn chunk_hashes(bytes: &[u8]) -> Vec<ContentHash> {
    let (chunks, _) = bytes.as_chunks::<32>();
    chunks.iter().copied().map(ContentHash::from_bytes).collect()
}

/// A journal row joined with its blob row. A file without a blob row is corrupt, not absent.
pub(super) fn found(row: &Row) -> Result<Found, Fault> {
    if read("read a blob row", || Ok(Ok(row.optional_text(7)?.is_none())))? {
        return Err(Fault::corrupt(format!("the blob of `{}` has no row", file(row, 0)?.path)));
    }
    Ok(Found { record: file(row, 0)?, blob: blob(row, 7)? })
}

pub(super) fn book(row: &Row) -> Result<Book, Fault> {
    read("read a book", || {
        let (id, name, created_at) = (row.text(0)?, row.text(1)?, row.time(2)?);
        Ok((|| Ok(Book { id: book_id(&id)?, schema: schema(&name)?, created_at }))())
    })
}

pub(super) fn entry(row: &Row) -> Result<AuditEntry, Fault> {
    read("read an audit entry", || {
        Ok(Ok(AuditEntry {
            id: row.text(0)?,
            timestamp: row.time(1)?,
            agent_id: row.text(2)?,
            operation: row.text(3)?,
            book_id: row.text(4)?,
            path: row.text(5)?,
            user_id: row.text(6)?,
            status: row.text(7)?,
            error_code: row.optional_text(8)?,
            error_message: row.optional_text(9)?,
            execution_time_ms: row.int(10)?,
            request_id: row.text(11)?,
            change_id: row.optional_text(12)?,
            old_content_hash: row.optional_text(13)?,
            new_content_hash: row.optional_text(14)?,
            prev_hash: row.optional_text(15)?,
            entry_hash: row.text(16)?,
        }))
    })
}

pub(super) fn chain(row: &Row) -> Result<ChainRecord, Fault> {
    read("read a chain", || {
        Ok(Ok(ChainRecord {
            key: chain_key(row)?,
            tip: row.optional_text(3)?,
            count: row.int(4)?,
            journal: row.optional_text(5)?,
        }))
    })
}

/// Book, path and user, from the first column on.
pub(super) fn chain_key(row: &Row) -> Sql<ChainKey> {
    Ok(ChainKey { book: row.text(0)?, path: row.text(1)?, user: row.text(2)? })
}

/// Book and path, from the first column on.
pub(super) fn book_path(row: &Row) -> Result<(BookId, BookPath), Fault> {
    read("read a path", || {
        let (book, raw_path) = (row.text(0)?, row.text(1)?);
        Ok((|| Ok((book_id(&book)?, path(&raw_path)?)))())
    })
}

/// Book, path and layer, from the first column on.
pub(super) fn file_key(row: &Row) -> Result<FileKey, Fault> {
    read("read a file's key", || {
        let key = chain_key(row)?;
        Ok((|| Ok(FileKey { book: book_id(&key.book)?, path: path(&key.path)?, layer: layer(&key.user)? }))())
    })
}
