//! `backup`: a consistent copy of a store on `SQLite` and a folder, while servers serve it. Exit codes: 0
//! all is copied, 1 there is no backup or it lacks objects, 2 wrong usage or another kind of store.

use std::path::{Path, PathBuf};

use clap::Args;
use panaversity_client::progress::{ProgressObserver, Unit};
use panaversity_store::{
    BACKUP_DATABASE, BACKUP_STORAGE, Backup, BackupError, CopiedObjects, DamagedObject, Database,
};
use serde_json::{Value, json};

use super::maintenance::gather;
use crate::config::flags::McpFlags;
use crate::config::parsed::StoreSettings;
use crate::config::storage::StorageSettings;
use crate::failure::{Failure, print};
use crate::progress::TerminalProgress;
use crate::runtime::connect_current;

/// Arguments of `backup`.
#[derive(Args)]
#[command(after_help = "Example: panaversity-fs backup --output /srv/backups/books-2027-01-31\n\n\
    To restore: stop the server, put the two parts where they were, start it, run `panaversity-fs reconcile --repair`.")]
pub(crate) struct BackupArgs {
    /// The folder to copy into: a new or an empty one
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: McpFlags,
}

/// Sizes and objects of a finished backup.
struct BackedUp {
    database_bytes: u64,
    copied: CopiedObjects,
}

/// Runs `backup`.
pub(crate) async fn run(args: BackupArgs) -> Result<(), Failure> {
    let sources = gather(args.flags.into_given())?;
    let settings = StoreSettings::read(&sources)?;
    let root = match &settings.storage {
        StorageSettings::Folder(root) if settings.database.url.backend() == "sqlite" => root.clone(),
        _ => return Err(Failure::Usage(instead(&settings))),
    };
    let database = connect_current(settings.database).await?;
    let done = back_up(&database, &root, &args.output).await;
    database.close().await;
    let BackedUp { database_bytes, copied } = done.map_err(|error| match error {
        BackupError::Refused(why) => Failure::Failed(why),
        BackupError::Broken(fault) => Failure::Failed(format!("there is no backup: {fault}")),
    })?;
    let shown = args.output.display().to_string();
    if args.json {
        print(&as_json(&shown, database_bytes, &copied))?;
    } else {
        copied.damaged.iter().try_for_each(|object| print(&line(object)))?;
        print(&summary(&shown, database_bytes, &copied))?;
    }
    match copied.damaged.len() {
        0 => Ok(()),
        lacking => Err(Failure::Failed(format!(
            "{shown} lacks {lacking} objects: `panaversity-fs reconcile --repair` restores those that have a \
             published copy; then make another backup"
        ))),
    }
}

async fn back_up(database: &Database, root: &Path, output: &Path) -> Result<BackedUp, BackupError> {
    let backup = Backup::begin(database, root, output).await?;
    let bar = TerminalProgress.begin("backup: database".to_owned(), backup.database_bytes(), Unit::Bytes);
    let database_bytes = backup.copy_database(|bytes| bar.done(bytes)).await?;
    drop(bar);
    let objects = backup.objects().await?;
    let total = objects.iter().map(|(_, size)| size).sum();
    let bar = TerminalProgress.begin("backup: objects".to_owned(), total, Unit::Bytes);
    let copied = backup.copy_objects(&objects, |bytes| bar.done(bytes)).await?;
    drop(bar);
    backup.finish().await?;
    Ok(BackedUp { database_bytes, copied })
}

/// Commands for a store that this one does not copy.
fn instead(settings: &StoreSettings) -> String {
    let database = match settings.database.url.backend() {
        "sqlite" => {
            let file = settings.database.url.masked();
            let file = file.strip_prefix("sqlite:").unwrap_or(&file);
            format!("sqlite3 {file} \"VACUUM INTO 'panaversity_fs-backup.db'\"")
        }
        _ => format!(
            "pg_dump --format=custom --file=panaversity.dump --dbname='{}'",
            settings.database.url.masked()
        ),
    };
    let storage = match &settings.storage {
        StorageSettings::Folder(root) => {
            let root = root.display();
            format!(
                "`mkdir -p BACKUP/.panaversity && cp -a {root}/.panaversity/store-id {root}/.panaversity/objects \
                 BACKUP/.panaversity/`"
            )
        }
        StorageSettings::Bucket(bucket) => format!(
            "versioning or replication of the bucket, such as `aws s3api put-bucket-versioning --bucket {} \
             --versioning-configuration Status=Enabled`",
            bucket.name
        ),
    };
    format!(
        "backup copies a store on SQLite and a folder. For this one: first `{database}`, then {storage} (see \
         docs/guide/backup.md)"
    )
}

fn line(object: &DamagedObject) -> String {
    let kind = if object.is_missing { "missing" } else { "corrupt" };
    format!("{kind} object {}: {}", object.hash, object.files.join(", "))
}

fn summary(output: &str, database_bytes: u64, copied: &CopiedObjects) -> String {
    let CopiedObjects { objects, bytes, released, .. } = copied;
    let released = match released {
        0 => String::new(),
        released => format!("; gc deleted {released} objects of old versions meanwhile"),
    };
    format!(
        "backed up to {output}: database ({database_bytes} bytes), {objects} objects ({bytes} bytes){released}"
    )
}

fn as_json(output: &str, database_bytes: u64, copied: &CopiedObjects) -> String {
    let CopiedObjects { objects, bytes, released, damaged } = copied;
    let damaged: Vec<Value> = damaged
        .iter()
        .map(|object| json!({ "hash": object.hash.to_string(), "missing": object.is_missing, "files": object.files }))
        .collect();
    json!({
        "status": if damaged.is_empty() { "success" } else { "incomplete" },
        "output": output,
        "database": BACKUP_DATABASE,
        "storage": BACKUP_STORAGE,
        "database_bytes": database_bytes,
        "objects": objects,
        "object_bytes": bytes,
        "released": released,
        "damaged": damaged,
    })
    .to_string()
}
