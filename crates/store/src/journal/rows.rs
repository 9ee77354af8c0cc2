//! Conversion of rows into values. A row that this program cannot have written is `CORRUPT`, never a
//! panic.

use panaversity_model::audit::{AuditEntry, ChainKey};
use panaversity_model::blob::{Blob, BlobLocation, BlobState, StoredBlob};
use panaversity_model::chain::ChainRecord;
use panaversity_model::file::{FileMetadata, FileRecord, Found};
use panaversity_model::publication::FileKey;
use panaversity_model::{AgentId, Book, BookId, BookPath, ContentHash, Fault, Layer, Refusal, Schema};

use crate::database::{Row, Sql};

/// Columns read by [`file`], of a journal row called `f`.
pub(super) const FILE: &str =
    "f.path, f.user_id, f.sha256, f.size, f.last_written_at, f.storage_backend, f.version";
/// Columns read by [`blob`], of a blob row called `b`.
pub(super) const BLOB: &str =
    "b.hash AS blob_hash, b.size AS blob_size, b.crc32, b.state, b.deflated, b.chunks";
/// Folded name of a journal row called `f` with its book and layer, by which alone names are searched: the
/// expression of an index. Neither ids of books nor of users contain a slash.
pub(super) const NAME: &str = "f.book_id || '/' || f.user_id || '/' || f.folded";
/// Columns read by [`entry`].
pub(super) const ENTRY: &str = "id, timestamp, agent_id, operation, book_id, path, user_id, status, error_code, \
    error_message, execution_time_ms, request_id, change_id, old_content_hash, new_content_hash, prev_hash, entry_hash";

/// Reads a whole row by `read`; `what` is named in the fault if a column does not decode.
pub(super) fn read<T>(what: &str, read: impl FnOnce() -> Sql<Result<T, Fault>>) -> Result<T, Fault> {
    read().map_err(|error| Fault::corrupt(format!("{what}: {error}")))?
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

/// The value of [`NAME`].
pub(super) fn name(book: &str, user: &str, folded: &str) -> String {
    format!("{book}/{user}/{folded}")
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A journal row.
pub(super) fn file(row: &Row) -> Result<FileRecord, Fault> {
    read("read a journal row", || {
        let (raw_path, user, raw_hash) = (row.text("path")?, row.text("user_id")?, row.text("sha256")?);
        let (size, written_at) = (unsigned(row.int("size")?), row.time("last_written_at")?);
        let (storage, version) = (row.text("storage_backend")?, row.int("version")?);
        Ok((|| {
            let (path, layer, hash) = (path(&raw_path)?, layer(&user)?, hash(&raw_hash)?);
            Ok(FileRecord { path, layer, hash, size, written_at, storage, version })
        })())
    })
}

/// A blob row.
pub(super) fn blob(row: &Row) -> Result<StoredBlob, Fault> {
    read("read a blob row", || {
        let (raw_hash, size) = (row.text("blob_hash")?, unsigned(row.int("blob_size")?));
        let crc32 = u32::try_from(row.int("crc32")?).unwrap_or(0);
        let (state, deflated, chunks) =
            (row.text("state")?, row.optional_bytes("deflated")?, row.optional_bytes("chunks")?);
        Ok((|| {
            let state = blob_state(&state)?;
            let location = match deflated {
                Some(deflated) => BlobLocation::Inline(deflated),
                None => BlobLocation::Object(chunk_hashes(&chunks.unwrap_or_default())),
            };
            Ok(StoredBlob { blob: Blob { hash: hash(&raw_hash)?, size, crc32, location }, state })
        })())
    })
}

pub(super) fn blob_state(text: &str) -> Result<BlobState, Fault> {
    BlobState::from_stored(text)
        .ok_or_else(|| Fault::corrupt(format!("a blob is in the unknown state `{text}`")))
}

fn chunk_hashes(bytes: &[u8]) -> Vec<ContentHash> {
    let (chunks, _) = bytes.as_chunks::<32>();
    chunks.iter().copied().map(ContentHash::from_bytes).collect()
}

/// A journal row joined with its blob row.
pub(super) fn found(row: &Row) -> Result<Found, Fault> {
    let record = file(row)?;
    require_blob(row, "blob_hash", &record)?;
    Ok(Found { record, blob: blob(row)? })
}

/// A journal row joined with the state and the place of its blob.
pub(super) fn metadata(row: &Row) -> Result<FileMetadata, Fault> {
    let record = file(row)?;
    require_blob(row, "state", &record)?;
    read("read a blob row", || {
        let (state, in_object) = (row.text("state")?, row.int("in_object")? == 1);
        Ok(blob_state(&state).map(|state| FileMetadata { record, state, in_object }))
    })
}

/// A file without a blob row is corrupt, not absent.
fn require_blob(row: &Row, column: &str, record: &FileRecord) -> Result<(), Fault> {
    read("read a blob row", || {
        let is_missing = row.optional_text(column)?.is_none();
        let fault = || Fault::corrupt(format!("the blob of `{}` has no row", record.path));
        Ok(if is_missing { Err(fault()) } else { Ok(()) })
    })
}

pub(super) fn book(row: &Row) -> Result<Book, Fault> {
    read("read a book", || {
        let (id, name, created_at) = (row.text("book_id")?, row.text("schema")?, row.time("created_at")?);
        Ok((|| Ok(Book { id: book_id(&id)?, schema: schema(&name)?, created_at }))())
    })
}

pub(super) fn entry(row: &Row) -> Result<AuditEntry, Fault> {
    read("read an audit entry", || {
        Ok(Ok(AuditEntry {
            id: row.text("id")?,
            timestamp: row.time("timestamp")?,
            agent_id: row.text("agent_id")?,
            operation: row.text("operation")?,
            book_id: row.text("book_id")?,
            path: row.text("path")?,
            user_id: row.text("user_id")?,
            status: row.text("status")?,
            error_code: row.optional_text("error_code")?,
            error_message: row.optional_text("error_message")?,
            execution_time_ms: row.int("execution_time_ms")?,
            request_id: row.text("request_id")?,
            change_id: row.optional_text("change_id")?,
            old_content_hash: row.optional_text("old_content_hash")?,
            new_content_hash: row.optional_text("new_content_hash")?,
            prev_hash: row.optional_text("prev_hash")?,
            entry_hash: row.text("entry_hash")?,
        }))
    })
}

pub(super) fn chain(row: &Row) -> Result<ChainRecord, Fault> {
    read("read a chain", || {
        Ok(Ok(ChainRecord {
            key: chain_key(row)?,
            tip: row.optional_text("tip")?,
            count: row.int("count")?,
            journal: row.optional_text("journal_hash")?,
        }))
    })
}

/// Book, path and user.
pub(super) fn chain_key(row: &Row) -> Sql<ChainKey> {
    Ok(ChainKey { book: row.text("book_id")?, path: row.text("path")?, user: row.text("user_id")? })
}

/// Book and path.
pub(super) fn book_path(row: &Row) -> Result<(BookId, BookPath), Fault> {
    read("read a path", || {
        let (book, raw_path) = (row.text("book_id")?, row.text("path")?);
        Ok((|| Ok((book_id(&book)?, path(&raw_path)?)))())
    })
}

/// Book, path and layer.
pub(super) fn file_key(row: &Row) -> Result<FileKey, Fault> {
    read("read a file's key", || {
        let key = chain_key(row)?;
        Ok((|| Ok(FileKey { book: book_id(&key.book)?, path: path(&key.path)?, layer: layer(&key.user)? }))())
    })
}
