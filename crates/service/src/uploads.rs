//! Uploads: large assets, whose bytes come past the tools. Keeps I8 and I9 for them: an upload is
//! completed once, by the commit that writes the asset, or not at all; and what was not looked at
//! byte for byte is never anybody's asset.
//!
//! # Protocol
//! 1. **Begin.** Path, schema, size, a new file's name and, as far as it can be told, the
//!    precondition are checked: cheap refusals before anything is sent. The upload gets a row, and the client a URL: of the
//!    storage's own, or of this server.
//! 2. **Arrive.** The bytes come to the inbox, under the upload's id. Nobody reads there but 3.
//!    Whoever has the URL may go on putting there until it expires; that changes nothing but what
//!    a later 3 finds.
//! 3. **Look.** Has as much arrived as was announced? Then it is read once, part by part, hashed,
//!    and written on to a private place that no URL ever named; what may lie in the database is
//!    held instead. What is wrong is removed; the upload stays open.
//! 4. **Put.** The blob's row is marked live, and only then what was written becomes its object
//!    (the model's `gc`). What is held needs none: the commit brings it along.
//! 5. **Commit** the change and the upload in one transaction, under the agent contract. If `gc`
//!    took the object away meanwhile, nothing happened, and 3 is done again. If the upload is done
//!    already, by whomever, nothing happens, and its row has the first answer.
//! 6. **Remove** what has arrived.
//!
//! A crash before 5 leaves the upload open, and completing it again goes on from what has arrived;
//! after 5 the row answers. Of concurrent completions one commits; the others, whatever they find
//! after it has, look at the row and give its answer.

use std::time::Duration;

use panaversity_model::ids::UploadId;
use panaversity_model::media;
use panaversity_model::ports::UploadWriter;
use panaversity_model::precondition::Effect;
use panaversity_model::upload::{Announced, Permit, SignedPut, Upload};
use panaversity_model::{BookId, BookPath, ContentHash, Error, Fault, Refusal};

use crate::assets::AssetKept;
use crate::call::Call;
use crate::commit::{CommitOutcome, NewContent};
use crate::service::Service;

/// How often an upload is read again because `gc` took its object away.
const LOOKED_AT: usize = 5;

/// A large asset that somebody announces.
#[derive(Debug, Clone)]
pub struct Announce {
    /// The book.
    pub book: BookId,
    /// The asset.
    pub path: BookPath,
    /// Bytes.
    pub size: u64,
    /// What they hash to, if the caller knows.
    pub sha256: Option<ContentHash>,
    /// What the caller expects the asset to hold.
    pub expected: Option<ContentHash>,
    /// Whether this server can be reached for a PUT where the storage gives no URL.
    pub own_route: bool,
}

/// What announcing an asset came to.
pub enum Announcement {
    /// It holds these bytes already.
    Held(AssetKept),
    /// The bytes may be put: to this URL of the storage, or to the server where there is none.
    Begun(Upload, Option<SignedPut>),
}

/// An upload on its way through this server.
pub struct UploadReceiver {
    receiving: Box<dyn UploadWriter>,
    expected: u64,
    got: u64,
}

impl Service {
    /// Step 1.
    pub async fn begin_upload(
        &self,
        call: &Call,
        announce: Announce,
        valid_for: Duration,
    ) -> Result<Announcement, Error> {
        let Announce { book, path, size, sha256, expected, own_route } = announce;
        let limit = self.inner.limits.asset_bytes;
        if size > limit {
            return Err(Refusal::TooLarge { what: "the asset", actual: size, limit }.into());
        }
        // Bytes nobody has named are taken for others than the asset has: 5 decides.
        let hash = sha256.unwrap_or(ContentHash::from_bytes([0; 32]));
        let (found, effect) = self.check_write(&book, &path, hash, expected).await?;
        if let Some(found) = found.filter(|found| effect == Effect::Unchanged && found.record.size == size)
            && self.is_whole(&found.blob).await?
        {
            return Ok(Announcement::Held(AssetKept { path, effect, size, hash }));
        }
        let permit = Permit { size, media_type: media::type_of(&path), valid_for };
        let id = UploadId::new(self.inner.ids.new_id());
        let announced = Announced { id, book, path, agent: call.agent.clone(), size, sha256, expected };
        let put = self.inner.inbox.presign(id, &permit).await?;
        if put.is_none() && !own_route {
            return Err(Refusal::NoLinks.into());
        }
        let upload = self.inner.journal.open_upload(&announced, valid_for).await?;
        Ok(Announcement::Begun(upload, put))
    }

    /// An upload, whatever has become of it.
    pub async fn upload(&self, id: UploadId) -> Result<Upload, Error> {
        Ok(self.inner.journal.upload(id).await?.ok_or_else(unknown)?)
    }

    /// Refuses an upload that can't be put any more.
    pub async fn require_open(&self, upload: &Upload) -> Result<(), Error> {
        if upload.done.is_some() {
            let why = "The upload is completed: what is put now would not be read";
            return Err(Refusal::not_found(why).into());
        }
        self.refuse_expired(upload).await
    }

    /// Step 2, through this server.
    pub async fn receive(&self, upload: &Upload) -> Result<UploadReceiver, Fault> {
        let receiving = self.inner.inbox.receive(upload.announced.id).await?;
        Ok(UploadReceiver { receiving, expected: upload.announced.size, got: 0 })
    }

    /// Steps 3 to 6, or the first answer of an upload that is done.
    pub async fn complete_upload(
        &self,
        call: &mut Call,
        book: &BookId,
        id: UploadId,
    ) -> Result<AssetKept, Error> {
        let upload = self.inner.journal.upload(id).await?;
        let upload = upload.filter(|upload| upload.announced.book == *book).ok_or_else(unknown)?;
        call.path = Some(upload.announced.path.clone());
        if let Some(answer) = first_answer(&upload) {
            return Ok(answer);
        }
        self.refuse_expired(&upload).await?;
        let ended = self.look_and_commit(call, &upload.announced).await;
        if let Ok(Some(kept)) = ended {
            self.discard(id).await;
            return Ok(kept);
        }
        // Somebody else may have completed it and removed what we looked at.
        let now = match ended {
            Err(Error::Broken(fault)) if fault.outcome_unknown => return Err(fault.into()),
            _ => self.inner.journal.upload(id).await?,
        };
        match (now.as_ref().and_then(first_answer), ended) {
            (Some(answer), _) => Ok(answer),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(unknown().into()),
        }
    }

    /// Steps 3 to 5; `None`: the upload is over.
    async fn look_and_commit(
        &self,
        call: &mut Call,
        announced: &Announced,
    ) -> Result<Option<AssetKept>, Error> {
        for _ in 0..LOOKED_AT {
            let (hash, content) = self.look(announced).await?;
            let (path, size) = (announced.path.clone(), announced.size);
            match self.change_by_upload(call, announced, content).await? {
                CommitOutcome::Done(done) => {
                    let effect = done.first().map_or(Effect::Unchanged, |done| done.effect);
                    return Ok(Some(AssetKept { path, effect, size, hash }));
                }
                CommitOutcome::UploadOver => return Ok(None),
                CommitOutcome::Unstaged => {}
            }
        }
        Err(Fault::storage("gc took the staged object away again and again").into())
    }

    /// Steps 3 and 4.
    async fn look(&self, announced: &Announced) -> Result<(ContentHash, NewContent), Error> {
        let (id, inbox) = (announced.id, &self.inner.inbox);
        let arrived = inbox.arrived(id).await?;
        if arrived != Some(announced.size) {
            if arrived.is_some() {
                inbox.discard(id).await?;
            }
            return Err(short(announced, arrived).into());
        }
        let _turn = self.inner.large.acquire().await;
        let Some(mut parts) = inbox.open(id).await? else { return Err(short(announced, None).into()) };
        let taken = self.spool_file(&announced.path, parts.as_mut(), announced.size).await;
        if let Err(Error::Refused(_)) = taken {
            inbox.discard(id).await?;
        }
        let taken = taken?;
        let (size, hash) = (taken.size(), taken.hash());
        if size != announced.size {
            inbox.discard(id).await?;
            return Err(short(announced, Some(size)).into());
        }
        if announced.sha256.is_some_and(|announced| announced != hash) {
            inbox.discard(id).await?;
            return Err(other_bytes(announced, hash).into());
        }
        Ok((hash, self.into_content(taken).await?))
    }

    /// What can't be removed now goes with the other leftovers.
    async fn discard(&self, id: UploadId) {
        if let Err(fault) = self.inner.inbox.discard(id).await {
            tracing::warn!(upload = %id, error = %fault, "what has arrived of an upload was not removed yet");
        }
    }

    async fn refuse_expired(&self, upload: &Upload) -> Result<(), Error> {
        if self.inner.journal.now().await? >= upload.expires_at {
            return Err(Refusal::not_found("The upload has expired").into());
        }
        Ok(())
    }
}

impl UploadReceiver {
    /// The next part.
    ///
    /// # Errors
    /// `UPLOAD_INCOMPLETE` when there is more than was announced; then nothing has arrived.
    pub async fn write(&mut self, part: &[u8]) -> Result<(), Error> {
        self.got += part.len() as u64;
        if self.got > self.expected {
            return Err(self.refused("More has come than was announced").into());
        }
        Ok(self.receiving.write(part).await?)
    }

    /// All of it is there.
    ///
    /// # Errors
    /// `UPLOAD_INCOMPLETE` when there is less than was announced; then nothing has arrived.
    pub async fn finish(self) -> Result<(), Error> {
        if self.got < self.expected {
            return Err(self.refused("Less has come than was announced").into());
        }
        Ok(self.receiving.finish().await?)
    }

    fn refused(&self, why: &str) -> Refusal {
        Refusal::UploadIncomplete { why: why.to_owned(), expected: self.expected, arrived: Some(self.got) }
    }
}

fn first_answer(upload: &Upload) -> Option<AssetKept> {
    let (announced, done) = (&upload.announced, upload.done?);
    let (path, size) = (announced.path.clone(), announced.size);
    Some(AssetKept { path, effect: done.effect, size, hash: done.hash })
}

fn unknown() -> Refusal {
    Refusal::not_found("The book has no such upload")
}

fn short(announced: &Announced, arrived: Option<u64>) -> Refusal {
    let why = match arrived {
        None => "Nothing has arrived at the upload URL yet".to_owned(),
        Some(bytes) => {
            format!("{bytes} bytes have arrived instead of {}; they were removed", announced.size)
        }
    };
    Refusal::UploadIncomplete { why, expected: announced.size, arrived }
}

fn other_bytes(announced: &Announced, hash: ContentHash) -> Refusal {
    let why =
        format!("What has arrived has the SHA-256 {hash}, not the one that was announced; it was removed");
    Refusal::UploadIncomplete { why, expected: announced.size, arrived: Some(announced.size) }
}
