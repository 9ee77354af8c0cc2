//! Writes and deletes on the server. Invariant: a file counts as written or deleted only if the
//! server confirmed it; every other one is refused, failed or not tried.

use futures::{StreamExt, stream};
use panaversity_model::{BookId, ContentHash};
use tokio::sync::Semaphore;

use super::compare::Job;
use super::source::{ReadError, read_text};
use super::{BookPart, Doomed, IngestOptions, IngestReport};
use crate::client::{CallError, Client};
use crate::progress::{Progress, ProgressObserver};
use crate::report::Problem;
use crate::sync::{Breaker, SyncError, blocking};
use crate::tools::Mode;
use crate::uploads::Target;

/// Maximum number of calls in flight.
const IN_FLIGHT: usize = 32;
/// Memory budget of assets in flight, in KiB. One inside a call takes about four times its size: its
/// bytes, base64, the request, and the request being sent.
const ROOM_KIB: u32 = 16 << 10;

/// Outcome of one file.
pub(super) enum Sent {
    Done(Mode),
    ServerError(Problem),
    Failed(Problem),
    NotTried,
}

/// Sender of the changes of one run.
pub(super) struct Sender<'a> {
    pub(super) client: &'a Client,
    pub(super) book: &'a BookId,
    dry_run: bool,
    progress: &'a dyn ProgressObserver,
    breaker: Breaker,
    /// Memory budget of assets in flight; a permit is 1 KiB.
    pub(super) room: Semaphore,
}

impl<'a> Sender<'a> {
    pub(super) fn new(client: &'a Client, options: &'a IngestOptions) -> Self {
        let room = Semaphore::new(ROOM_KIB as usize);
        Self {
            client,
            book: &options.book_id,
            dry_run: options.dry_run,
            progress: &*options.progress,
            breaker: Breaker::default(),
            room,
        }
    }

    /// Writes the files of a part, in any order.
    pub(super) async fn write(
        &self,
        jobs: Vec<Job>,
        part: BookPart,
        report: &mut IngestReport,
    ) -> Result<(), SyncError> {
        let doing = match part {
            _ if self.dry_run => "checking",
            BookPart::Pages => "writing",
            BookPart::Assets => "uploading",
        };
        let progress =
            Progress::of_files(self.progress, format!("ingest {}: {doing}", self.book), jobs.len());
        let mut results = stream::iter(jobs)
            .map(|job| async move {
                let path = job.file.path.as_str().to_owned();
                self.write_one(job).await.map(|sent| (path, sent))
            })
            .buffer_unordered(IN_FLIGHT);
        while let Some(result) = results.next().await {
            let (path, sent) = result?;
            progress.step();
            match sent {
                Sent::Done(Mode::Created) => report.created.push(path),
                Sent::Done(Mode::Updated) => report.updated.push(path),
                Sent::Done(Mode::Unchanged) => report.unchanged += 1,
                other => report.note(other),
            }
        }
        Ok(())
    }

    async fn write_one(&self, job: Job) -> Result<Sent, SyncError> {
        if self.breaker.is_open() {
            return Ok(Sent::NotTried);
        }
        let Job { file, expected } = job.clone();
        let path = file.path.clone();
        let text = match blocking(move || read_text(&file)).await? {
            Ok(Some(text)) => text,
            Ok(None) if self.dry_run => return Ok(Sent::Done(mode_of(expected))),
            Ok(None) => return self.upload(job).await,
            Err(ReadError::ServerError(why)) => {
                return Ok(Sent::ServerError(Problem::new(path.as_str(), why)));
            }
            Err(ReadError::Failed(why)) => return Ok(Sent::Failed(Problem::new(path.as_str(), why))),
        };
        if self.dry_run {
            return Ok(Sent::Done(mode_of(expected)));
        }
        Ok(match self.client.write(self.book, &path, text, expected).await {
            Ok(mode) => Sent::Done(mode),
            Err(error) => self.trouble(path.as_str(), error),
        })
    }

    /// Deletes files whose current content still has the expected hash.
    pub(super) async fn delete(&self, doomed: Doomed, report: &mut IngestReport) {
        let mut results = stream::iter(doomed)
            .map(|(path, hash)| async move {
                if self.breaker.is_open() {
                    return (path, Sent::NotTried);
                }
                let answer = if self.dry_run {
                    Ok(())
                } else if path.is_asset() {
                    let target = Target { book: self.book, path: &path, expected: Some(hash) };
                    self.client.delete_asset(target).await
                } else {
                    self.client.delete(self.book, path.as_str(), hash).await
                };
                let sent = match answer {
                    Ok(()) => Sent::Done(Mode::Updated),
                    Err(error) => self.trouble(path.as_str(), error),
                };
                (path, sent)
            })
            .buffer_unordered(IN_FLIGHT);
        while let Some((path, sent)) = results.next().await {
            match sent {
                Sent::Done(_) => report.deleted.push(path.to_string()),
                other => report.note(other),
            }
        }
    }

    pub(super) fn trouble(&self, path: &str, error: CallError) -> Sent {
        self.breaker.note(&error);
        match error {
            CallError::ServerError(refused) => {
                let reason = refused.to_string();
                Sent::ServerError(Problem { path: path.to_owned(), reason, suggestion: refused.suggestion })
            }
            other => Sent::Failed(Problem::new(path, other.to_string())),
        }
    }
}

/// The effect that writing the file would have.
fn mode_of(expected: Option<ContentHash>) -> Mode {
    if expected.is_some() { Mode::Updated } else { Mode::Created }
}

impl IngestReport {
    fn note(&mut self, sent: Sent) {
        match sent {
            Sent::ServerError(problem) => self.refused.push(problem),
            Sent::Failed(problem) => self.failed.push(problem),
            Sent::NotTried => self.not_tried += 1,
            Sent::Done(_) => {}
        }
    }
}
