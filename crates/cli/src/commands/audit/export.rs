//! `audit export`: the log as JSON lines, to stdout or into a file that appears when it is complete.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};

use clap::Args;
use panaversity_model::BookId;
use panaversity_model::audit_export::{ExportEnd, ExportLine};
use panaversity_service::audit::AuditReader;
use panaversity_service::verify::{ChainReport, ChainScope};
use tempfile::NamedTempFile;

use super::{Interrupted, book_id, break_line, entries_shown, open};
use crate::config::flags::MigrateFlags;
use crate::failure::{Failure, print};
use crate::progress::MaintenanceProgress;
use crate::report::say;

/// Arguments of `audit export`.
#[derive(Args)]
pub(super) struct ExportArgs {
    /// Only chains of this book
    #[arg(long, value_name = "ID", value_parser = book_id)]
    book_id: Option<BookId>,
    /// Write to this file, which must not exist, instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    flags: MigrateFlags,
}

/// Runs `audit export`.
pub(super) async fn run(args: ExportArgs) -> Result<(), Failure> {
    let target = args.output.as_deref().map(|path| Ok((path, begin(path)?)));
    let mut target = target.transpose().map_err(|(path, error)| not_written(path, &error))?;
    let (reader, database) = open(args.flags).await?;
    // On a terminal the lines themselves show the progress.
    let bar = MaintenanceProgress::new(target.is_none() && stdout().is_terminal());
    let written = match &mut target {
        Some((_, file)) => write(&reader, args.book_id, file, &bar).await,
        None => write(&reader, args.book_id, stdout().lock(), &bar).await,
    };
    database.close().await;
    drop(bar);
    let (end, report) = match (written, &target) {
        (Err(Interrupted::Output(error)), Some((path, _))) => return Err(not_written(path, &error)),
        (written, _) => written?,
    };
    if let Some((path, file)) = target {
        keep(path, file).map_err(|error| not_written(path, &error))?;
        let ExportEnd { chains, entries, digest, .. } = end;
        let path = path.display();
        print(&format!("exported {entries} entries of {chains} chains to {path}\ndigest {digest}"))?;
    }
    if report.breaks.is_empty() {
        return Ok(());
    }
    for found in &report.breaks {
        say(&break_line(found));
    }
    Err(Failure::Failed(
        "the log is exported as it is, but it is broken: `audit verify` says where".to_owned(),
    ))
}

async fn write(
    reader: &AuditReader,
    book: Option<BookId>,
    to: impl Write,
    bar: &MaintenanceProgress,
) -> Result<(ExportEnd, ChainReport), Interrupted> {
    let scope = ChainScope { book: book.clone(), ..ChainScope::default() };
    let mut show = entries_shown(bar, "audit export: entries", reader, &scope).await;
    let (mut out, mut entries) = (BufWriter::new(to), 0);
    let exported = reader.export(book, |line| {
        entries += u64::from(matches!(line, ExportLine::Entry(_)));
        show(entries);
        Ok::<_, Interrupted>(writeln!(out, "{}", line.to_json())?)
    });
    let exported = exported.await?;
    out.flush()?;
    Ok(exported)
}

type Unwritten<'a> = (&'a Path, std::io::Error);

/// Creates the temporary file beside the target, readable by its owner alone.
fn begin(path: &Path) -> Result<NamedTempFile, Unwritten<'_>> {
    // Checked again when it is renamed.
    if path.exists() {
        return Err((path, ErrorKind::AlreadyExists.into()));
    }
    NamedTempFile::with_prefix_in(".audit-export-", folder(path)).map_err(|error| (path, error))
}

/// Gives a complete file its name, durably.
fn keep(path: &Path, file: NamedTempFile) -> Result<(), std::io::Error> {
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    let path = path.display();
    Failure::Failed(if error.kind() == ErrorKind::AlreadyExists {
        format!("{path} exists already: choose another name, an export is never overwritten")
    } else {
        format!("cannot write {path}: {error}")
    })
}
