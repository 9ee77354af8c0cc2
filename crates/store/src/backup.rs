//! Backup of a store on `SQLite` and a folder, while servers serve it. Keeps: a folder with the name of
//! the output is a whole backup, of one moment.
//!
//! # Protocol
//! 1. The output is a new or an empty folder. All is written into a locked temporary folder beside it, so
//!    that a backup that was killed has no output; the next one to the same output removes what is left.
//! 2. The database is copied first, by `VACUUM INTO`: one read transaction, beside which writers go on.
//! 3. Then the store id, and each object that a version in the copy names, checked against its hash.
//! 4. Files and folders are synced, the temporary folder is renamed to the output, and the folder above
//!    it is synced.
//!
//! # Why this order
//! An object is durable before the transaction that names it, so the objects of the copied database exist
//! when the copy begins. Objects are immutable, and `gc` deletes only those that no version has named for
//! the retention time. In the other order, objects written meanwhile would be missing. If `gc` deletes an
//! object between 2 and 3, its versions are older than the retention time, and the live database does not
//! name it any more: it counts as released, not as damage, unless a file of the copy has it (with a retention
//! time of 0).
//!
//! Not part of it: the published tree, which is derived from the rest; uploads under way; stagings.

mod target;

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use panaversity_model::{ContentHash, Fault};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rusqlite::{Connection, OpenFlags};

use crate::DatabaseIdentity;
use crate::database::{Database, Engine, Sql, SqlError, Value, fault};
use crate::fs::{CopyTarget, FileStorage, ObjectCopy};
use crate::limits::SQLITE_BUSY_TIMEOUT;
use target::BackupTarget;

/// Name of the database in a backup: where a server looks for it by default.
pub const BACKUP_DATABASE: &str = "panaversity_fs.db";
/// Name of the storage folder in a backup: where a server looks for it by default.
pub const BACKUP_STORAGE: &str = "panaversity-data";

/// Objects copied at the same time.
const AT_ONCE: usize = 4;
/// Time between two looks at the size of the copied database.
const LOOK: Duration = Duration::from_millis(200);
/// Files named for a damaged object.
const NAMED: i64 = 3;
/// Objects that a version names.
const NAMED_OBJECTS: &str =
    "FROM blobs b WHERE b.deflated IS NULL AND EXISTS (SELECT 1 FROM versions v WHERE v.sha256 = b.hash)";

/// Reason why there is no backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupError {
    /// The operator can correct it; the message says how.
    Refused(String),
    /// The database or a folder failed.
    Broken(Fault),
}

impl From<Fault> for BackupError {
    fn from(fault: Fault) -> Self {
        Self::Broken(fault)
    }
}

/// An object that could not be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedObject {
    /// Its name.
    pub hash: ContentHash,
    /// True if it does not exist, false if it has other bytes or cannot be read.
    pub is_missing: bool,
    /// Some of the files that have or had these bytes, below `books/`.
    pub files: Vec<String>,
}

/// Objects of a backup.
#[derive(Debug, Default)]
pub struct CopiedObjects {
    /// Number of copied objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Number of objects of versions older than the retention time, which `gc` deleted meanwhile.
    pub released: u64,
    /// Objects that the backup lacks.
    pub damaged: Vec<DamagedObject>,
}

/// A backup in progress. If dropped before it is finished, nothing of it is left.
pub struct Backup {
    live: Database,
    file: Arc<Path>,
    storage: Arc<FileStorage>,
    target: BackupTarget,
    database_bytes: u64,
}

impl Backup {
    /// Begins a backup of a migrated database and its storage, if there is room for it.
    pub async fn begin(live: &Database, storage_root: &Path, output: &Path) -> Result<Self, BackupError> {
        let Engine::Sqlite(sqlite) = &live.engine else {
            return Err(BackupError::Refused("only a store on SQLite can be copied".to_owned()));
        };
        let identity = DatabaseIdentity::of(live).await?;
        let Some(store_id) = identity.store_id.filter(|_| identity.is_paired) else {
            let why = "no server was started on this database yet, so there is nothing to copy";
            return Err(BackupError::Refused(why.to_owned()));
        };
        let storage = FileStorage::open(storage_root, &store_id, false)?;
        let target = BackupTarget::claim(output)?;
        let sizes = sizes(live).await.map_err(|error| fault("look at the sizes", &error))?;
        target.require_room(sizes.0 + sizes.1)?;
        Ok(Self { live: live.clone(), file: sqlite.file().clone(), storage, target, database_bytes: sizes.0 })
    }

    /// Size of the database when the backup began.
    pub fn database_bytes(&self) -> u64 {
        self.database_bytes
    }

    /// Copies the database; returns the size of the copy. `done` gets the number of bytes so far.
    pub async fn copy_database(&self, done: impl Fn(u64)) -> Result<u64, BackupError> {
        let copy = self.copy();
        let size = || std::fs::metadata(&copy).map_or(0, |copy| copy.len());
        let (source, to) = (self.file.clone(), copy.clone());
        let vacuum = blocking(move || vacuum(&source, &to));
        tokio::pin!(vacuum);
        loop {
            tokio::select! {
                result = &mut vacuum => {
                    result.map_err(|error| fault("copy the database", &error))?;
                    break;
                }
                () = tokio::time::sleep(LOOK) => done(size()),
            }
        }
        let finished = std::fs::metadata(&self.file).and_then(|source| {
            let mode = source.permissions().mode() & 0o777;
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(mode))?;
            std::fs::File::open(&copy)?.sync_all()
        });
        finished.map_err(|error| Fault::storage(format!("finish the copy of the database: {error}")))?;
        Ok(size())
    }

    /// Objects that versions in the copied database name, with their sizes.
    pub async fn objects(&self) -> Result<Vec<(ContentHash, u64)>, BackupError> {
        let copy = self.copy();
        let rows = blocking(move || {
            let copy = open_copy(&copy)?;
            let mut select =
                copy.prepare(&format!("SELECT b.hash, b.size {NAMED_OBJECTS} ORDER BY b.hash"))?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<Vec<(String, i64)>>>()?)
        });
        let rows = rows.await.map_err(|error| fault("list the objects", &error))?;
        let object = |(hash, size): (String, i64)| {
            let parsed = ContentHash::from_hex(&hash);
            let parsed = parsed.ok_or_else(|| Fault::corrupt(format!("`{hash}` is no hash of a blob")))?;
            Ok((parsed, u64::try_from(size).unwrap_or(0)))
        };
        rows.into_iter().map(object).collect()
    }

    /// Copies the store id and the objects. `done` gets the number of bytes so far.
    pub async fn copy_objects(
        &self,
        objects: &[(ContentHash, u64)],
        done: impl Fn(u64),
    ) -> Result<CopiedObjects, BackupError> {
        let to = CopyTarget::open(&self.target.storage())?;
        self.storage.copy_store_id(&to).await?;
        let running = stream::iter(objects).map(|&(hash, size)| {
            let (storage, to) = (&self.storage, &to);
            async move { (hash, size, storage.copy_object(to, hash).await) }
        });
        let mut running = running.buffer_unordered(AT_ONCE);
        let (mut copied, mut seen) = (CopiedObjects::default(), 0);
        while let Some((hash, size, copy)) = running.next().await {
            match copy? {
                ObjectCopy::Whole => {
                    copied.objects += 1;
                    copied.bytes += size;
                }
                ObjectCopy::Missing if self.is_released(hash).await? => copied.released += 1,
                copy => copied.damaged.push(self.damaged(hash, copy).await?),
            }
            seen += size;
            done(seen);
        }
        Ok(copied)
    }

    /// Syncs everything and gives it the name of the output.
    pub async fn finish(self) -> Result<(), BackupError> {
        let finished = tokio::task::spawn_blocking(move || self.target.finish()).await;
        finished.map_err(|broken| Fault::internal(format!("finish the backup: {broken}")))?
    }

    fn copy(&self) -> PathBuf {
        self.target.folder().join(BACKUP_DATABASE)
    }

    /// True if no version in the live database names the object any more, and no file of the copy has it.
    async fn is_released(&self, hash: ContentHash) -> Result<bool, Fault> {
        let run = async {
            let sql = "SELECT 1 FROM versions WHERE sha256 = $1 LIMIT 1";
            let named = self.live.read().await?.row(sql, vec![hash.to_string().into()]).await?;
            let copy = self.copy();
            let files: i64 = blocking(move || {
                let sql = "SELECT count(*) FROM file_journal WHERE sha256 = ?1";
                Ok(open_copy(&copy)?.query_row(sql, [hash.to_string()], |row| row.get(0))?)
            })
            .await?;
            Ok(named.is_none() && files == 0)
        };
        run.await.map_err(|error| fault("look who names an object", &error))
    }

    async fn damaged(&self, hash: ContentHash, copy: ObjectCopy) -> Result<DamagedObject, Fault> {
        let run = async {
            let sql = "SELECT DISTINCT book_id || CASE user_id WHEN '__base__' THEN '/' \
                       ELSE '/users/' || user_id || '/' END || path AS file \
                       FROM versions WHERE sha256 = $1 ORDER BY file LIMIT $2";
            let values = vec![hash.to_string().into(), Value::Int(NAMED)];
            let rows = self.live.read().await?.rows(sql, values).await?;
            rows.iter().map(|row| row.text("file")).collect::<Sql<Vec<_>>>()
        };
        let files = run.await.map_err(|error| fault("look who names an object", &error))?;
        Ok(DamagedObject { hash, is_missing: copy == ObjectCopy::Missing, files })
    }
}

/// Sizes of the database and of its objects.
async fn sizes(live: &Database) -> Sql<(u64, u64)> {
    let mut session = live.read().await?;
    let sql = format!(
        "SELECT (SELECT (page_count - freelist_count) * page_size \
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size) AS database, \
         (SELECT coalesce(sum(b.size), 0) {NAMED_OBJECTS}) AS objects"
    );
    let row = session.row(sql, Vec::new()).await?.ok_or(SqlError::RowNotFound)?;
    let unsigned = |number| u64::try_from(number).unwrap_or(0);
    Ok((unsigned(row.int("database")?), unsigned(row.int("objects")?)))
}

/// Runs a use of `SQLite` on a thread that may wait for disks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Sql<T> + Send + 'static) -> Sql<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|broken| Err(SqlError::Driver(broken.to_string())))
}

/// Copies a database by a connection of its own: those of the pools may not write, not even elsewhere.
fn vacuum(file: &Path, copy: &Path) -> Sql<()> {
    let copy = copy.to_str().ok_or_else(|| SqlError::Driver("the output is not UTF-8".to_owned()))?;
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(SQLITE_BUSY_TIMEOUT)?;
    connection.execute("VACUUM INTO ?1", [copy])?;
    Ok(())
}

/// Characters with a meaning in a URI of `SQLite`.
const IN_URI: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// Opens a copied database in a way that creates no files beside it.
fn open_copy(copy: &Path) -> Sql<Connection> {
    let path = percent_encode(copy.as_os_str().as_bytes(), IN_URI);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)?)
}
