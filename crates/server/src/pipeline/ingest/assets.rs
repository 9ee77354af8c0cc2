//! Sending assets. Invariants: what is in memory is bounded by [`ROOM_KIB`], whatever the sizes and
//! however many; an asset counts as sent only if the server holds the bytes that were hashed here.
//!
//! # An asset
//! 1. Up to 1 MiB it goes inside the call, unless the server wants less there.
//! 2. A larger one is hashed, then announced with size and hash; the server names a place, and the
//!    file is put there while it is read; then the server is told to look.
//! 3. A place whose time is over is asked for again, a few times.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::super::report::Problem;
use super::super::{Failure, blocking, digest};
use super::compare::Job;
use super::send::{Sender, Sent};
use super::source::io_reason;
use crate::client::CallError;
use crate::client::tools::Mode;
use crate::client::uploads::{Announced, PutError, Target};

/// Largest asset that goes inside a call.
const DIRECT_BYTES: u64 = 1 << 20;
/// Memory for assets on their way. Inside a call one is there about four times: its bytes, base64,
/// the request, and that on its way.
pub(super) const ROOM_KIB: u32 = 16 << 10;
/// What a file takes that is read while it is sent.
const STREAMED_KIB: u32 = 2 << 10;
/// Places asked for because the one before was over.
const TICKETS: usize = 3;

/// An asset as it was read.
enum Asset {
    Small(Vec<u8>),
    Large,
}

impl Sender<'_> {
    /// Sends one asset.
    pub(super) async fn upload(&self, job: Job) -> Result<Sent, Failure> {
        let Job { file, expected } = job;
        let kib = match file.size {
            small @ ..=DIRECT_BYTES => u32::try_from(small / 1024).unwrap_or(STREAMED_KIB) * 4 + 64,
            _ => STREAMED_KIB,
        };
        // It is never closed.
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
                // The server takes less inside a call.
                Err(CallError::ServerError(refused)) if refused.code == "TOO_LARGE" => {
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

    /// Steps 2 and 3.
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

/// Why an asset is not on the server.
enum Trouble {
    Call(CallError),
    File(String),
}

/// Bytes that are not the ones announced are a fault of the moment, not of the file's name.
fn incomplete(error: CallError) -> Trouble {
    match error {
        CallError::ServerError(refused) if refused.code == "UPLOAD_INCOMPLETE" => {
            Trouble::File(format!("it did not arrive as it was read: {refused}; run again"))
        }
        error => Trouble::Call(error),
    }
}

/// Reads a small file; of a large one no more than it takes to see that it is.
fn read(file: &Path) -> std::io::Result<Asset> {
    let mut bytes = Vec::new();
    File::open(file)?.take(DIRECT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 > DIRECT_BYTES { Asset::Large } else { Asset::Small(bytes) })
}
