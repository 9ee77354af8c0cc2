//! Writing and deleting on the server. Invariant: a file counts as written or deleted only if the
//! server said so; every other one is refused, failed or not tried.

use futures::{StreamExt, stream};
use panaversity_model::{BookId, ContentHash};
use tokio::sync::Semaphore;

use super::super::progress::Progress;
use super::super::report::Problem;
use super::super::{Breaker, Failure, blocking};
use super::compare::Job;
use super::source::{ReadError, read_text};
use super::{Doomed, IngestReport, Part, assets};
use crate::client::tools::Mode;
use crate::client::uploads::Target;
use crate::client::{CallError, Client};

/// Calls in flight.
const IN_FLIGHT: usize = 32;

/// What became of one file.
pub(super) enum Sent {
    Done(Mode),
    ServerError(Problem),
    Failed(Problem),
    NotTried,
}

/// Sends the changes of one run.
pub(super) struct Sender<'a> {
    pub(super) client: &'a Client,
    pub(super) book: &'a BookId,
    dry_run: bool,
    breaker: Breaker,
    /// Room in memory for assets on their way, in KiB.
    pub(super) room: Semaphore,
}

impl<'a> Sender<'a> {
    pub(super) fn new(client: &'a Client, book: &'a BookId, dry_run: bool) -> Self {
        let room = Semaphore::new(assets::ROOM_KIB as usize);
        Self { client, book, dry_run, breaker: Breaker::default(), room }
    }

    /// Writes files of a part, in any order.
    pub(super) async fn write(
        &self,
        jobs: Vec<Job>,
        part: Part,
        report: &mut IngestReport,
    ) -> Result<(), Failure> {
        let doing = match part {
            _ if self.dry_run => "checking",
            Part::Pages => "writing",
            Part::Assets => "uploading",
        };
        let progress = Progress::start(format!("ingest {}: {doing}", self.book), jobs.len());
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

    async fn write_one(&self, job: Job) -> Result<Sent, Failure> {
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

    /// Deletes files that still hold what the server said they hold.
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

/// What writing it would be.
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
