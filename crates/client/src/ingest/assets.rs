//! Uploads of assets. Invariants: memory is bounded by the room of a [`Sender`], whatever the sizes and number
//! of assets; an asset counts as sent only if the server stored the bytes that were hashed here.
//!
//! # An asset
//! 1. Up to 1 MiB it is sent inside the call, unless the server's limit is lower.
//! 2. A larger one is hashed, then announced with size and hash; the server returns an upload URL,
//!    and the file is streamed to it; then the upload is completed by another call.
//! 3. An expired upload URL is requested again, a few times.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use panaversity_model::ErrorCode;

use super::compare::Job;
use super::send::{Sender, Sent};
use super::source::io_reason;
use crate::client::CallError;
use crate::digest;
use crate::report::Problem;
use crate::sync::{SyncError, blocking};
use crate::tools::Mode;
use crate::uploads::{Announced, PutError, Target};

/// Largest asset sent inside a call, in bytes.
const DIRECT_BYTES: u64 = 1 << 20;
/// Memory that a streamed file takes, in KiB.
const STREAMED_KIB: u32 = 2 << 10;
/// Maximum number of upload URLs requested for one asset.
const TICKETS: usize = 3;

/// An asset after reading.
enum Asset {
    Small(Vec<u8>),
    Large,
}

impl Sender<'_> {
    /// Sends one asset.
    pub(super) async fn upload(&self, job: Job) -> Result<Sent, SyncError> {
        let Job { file, expected } = job;
        let kib = match file.size {
            small @ ..=DIRECT_BYTES => u32::try_from(small / 1024).unwrap_or(STREAMED_KIB) * 4 + 64,
            _ => STREAMED_KIB,
        };
        // The semaphore is never closed.
        let _room = self.room.acquire_many(kib).await;
        let target = Target { book: self.book, path: &file.path, expected };
        let path = file.path.as_str();
        let read = blocking({
            let file = file.file.clone();
            move || read(&file)
        });
        let sent = match read.await? {
            Err(error) => return Ok(Sent::Failed(Problem::new(path, io_reason(Some(&error))))),
            Ok(Asset::Large) => self.put(target, &file.file).await,
            Ok(Asset::Small(bytes)) => match self.client.upload(target, &bytes).await {
                // The server's limit inside a call is lower.
                Err(CallError::ServerError(refused)) if refused.is(ErrorCode::TooLarge) => {
                    self.put(target, &file.file).await
                }
                sent => sent.map_err(Trouble::Call),
            },
        };
        Ok(match sent {
            Ok(mode) => Sent::Done(mode),
            Err(Trouble::Call(error)) => self.trouble(path, error),
            Err(Trouble::File(why)) => Sent::Failed(Problem::new(path, why)),
        })
    }

    /// Uploads a large asset: steps 2 and 3.
    async fn put(&self, target: Target<'_>, file: &Path) -> Result<Mode, Trouble> {
        let hashed = blocking({
            let file = file.to_owned();
            move || digest::of_file(&file)
        });
        let hashed = hashed.await.map_err(|failure| Trouble::File(failure.message))?;
        let (hash, size) = hashed.map_err(|error| Trouble::File(io_reason(Some(&error))))?;
        let mut over = String::new();
        for _ in 0..TICKETS {
            let ticket = match self.client.announce(target, size, hash).await.map_err(Trouble::Call)? {
                Announced::Held(mode) => return Ok(mode),
                Announced::UploadTarget(ticket) => ticket,
            };
            match self.client.put(&ticket, file, size).await {
                Ok(()) => {
                    return self.client.complete(target, &ticket, hash).await.map_err(incomplete);
                }
                Err(PutError::Over(why)) => over = why,
                Err(PutError::Failed(error)) => return Err(Trouble::Call(error)),
            }
        }
        Err(Trouble::File(format!("the place to put it was over each time: {over}; run again")))
    }
}

/// Error of sending an asset.
enum Trouble {
    Call(CallError),
    File(String),
}

/// Maps an incomplete upload to a failure of the file, which the next run may resolve; it is no
/// refusal of the path.
fn incomplete(error: CallError) -> Trouble {
    match error {
        CallError::ServerError(refused) if refused.is(ErrorCode::UploadIncomplete) => {
            Trouble::File(format!("it did not arrive as it was read: {refused}; run again"))
        }
        error => Trouble::Call(error),
    }
}

/// Reads a small file; of a large one only as much as shows that it is large.
fn read(file: &Path) -> std::io::Result<Asset> {
    let mut bytes = Vec::new();
    File::open(file)?.take(DIRECT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 > DIRECT_BYTES { Asset::Large } else { Asset::Small(bytes) })
}
