//! Uploads of large assets, whose bytes are sent outside of tool calls. Keeps I8 and I9 for them: an
//! upload is completed once, by the commit that writes the asset, or not at all; and bytes that were not
//! all checked never become an asset.
//!
//! # Protocol
//! 1. **Begin.** Path, schema, size, a new file's name and, as far as it can be known, the precondition
//!    are checked: cheap refusals before any byte is sent. The upload gets a row, and the client a URL:
//!    a presigned one of the storage, or one of this server.
//! 2. **Arrive.** The bytes are put into the upload store, under the upload's id. Only 3 reads them there. The
//!    holder of the URL may repeat the PUT until the URL expires; that affects only a later 3.
//! 3. **Check.** If the announced size has arrived, the bytes are read once, part by part, hashed, and
//!    spooled to a private place that no URL names; a blob small enough for the database is kept in
//!    memory instead. An upload that differs from the announcement is removed from the upload store; its row
//!    stays open.
//! 4. **Put.** The blob's row is marked live, and only then the spooled file is promoted to its object
//!    (the model's `gc`). A blob in memory needs no object: the commit includes its bytes.
//! 5. **Commit** the change and the upload in one transaction, under the agent contract. If `gc` deleted
//!    the object meanwhile, nothing is written, and 3 is repeated. If another call has already completed
//!    the upload, nothing is written, and its row has the first result.
//! 6. **Remove** the bytes from the upload store.
//!
//! A crash before 5 leaves the upload open, and another completion resumes from the bytes in the upload store;
//! after 5 the row answers. Of concurrent completions one commits; the others, whatever error they get
//! after that, read the row and return its result.

use std::time::Duration;

use panaversity_model::change::{Applied, Verdict};
use panaversity_model::ids::UploadId;
use panaversity_model::media;
use panaversity_model::ports::UploadWriter;
use panaversity_model::precondition::Effect;
use panaversity_model::upload::{Announced, Completion, Permit, SignedPut, Upload};
use panaversity_model::{BookPath, ContentHash, Error, Fault, Refusal};

use crate::authorize::WriteAccess;
use crate::call::Call;
use crate::commit::{NewContent, only};
use crate::service::Service;

/// Most times that an upload is read because `gc` deleted its object.
const LOOKED_AT: usize = 5;

/// Announcement of a large asset.
#[derive(Debug, Clone)]
pub struct Announce {
    /// The layer of the book: the base.
    pub access: WriteAccess,
    /// The asset.
    pub path: BookPath,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes, if the caller knows it.
    pub sha256: Option<ContentHash>,
    /// Expected current hash of the asset.
    pub expected: Option<ContentHash>,
    /// True if clients can reach this server for the PUT when the storage offers no presigned URL.
    pub own_route: bool,
}

/// Result of announcing an asset.
pub enum Announcement {
    /// The asset already has these bytes.
    Held(Applied),
    /// The bytes may be put: to this URL of the storage, or to this server for `None`.
    Begun(Upload, Option<SignedPut>),
}

/// An upload that this server receives.
pub struct UploadReceiver {
    receiving: Box<dyn UploadWriter>,
    expected: u64,
    got: u64,
}

impl Call {
    /// Step 1: begins an upload.
    pub async fn begin_upload(&self, announce: Announce, valid_for: Duration) -> Result<Announcement, Error> {
        let Announce { access, path, size, sha256, expected, own_route } = announce;
        let book = access.book().clone();
        let limit = self.service.inner.limits.asset_bytes;
        if size > limit {
            return Err(Refusal::TooLarge { what: "the asset", actual: size, limit }.into());
        }
        // Without a hash the bytes are assumed to differ from the asset's: step 5 decides.
        let hash = sha256.unwrap_or(ContentHash::from_bytes([0; 32]));
        let (found, effect) = self.service.check_write(&book, &path, hash, expected).await?;
        if let Some(found) = found.filter(|found| effect == Effect::Unchanged && found.record.size == size)
            && self.service.is_whole(&found).await?
        {
            return Ok(Announcement::Held(held(path, size, Completion { effect, hash })));
        }
        let permit = Permit { size, media_type: media::type_of(&path), valid_for };
        let id = UploadId::new(self.service.inner.ids.new_id());
        let announced =
            Announced { id, book, path, agent: self.caller.principal.agent.clone(), size, sha256, expected };
        let put = self.service.inner.upload_store.presign(id, &permit).await?;
        if put.is_none() && !own_route {
            return Err(Refusal::NoLinks.into());
        }
        let upload = self.service.inner.journal.open_upload(&announced, valid_for).await?;
        Ok(Announcement::Begun(upload, put))
    }

    /// The upload that a signed link names, in whatever state it is. The permission for it was checked
    /// when the link was given.
    pub async fn linked_upload(&self, id: UploadId) -> Result<Upload, Error> {
        Ok(self.service.inner.journal.upload(id).await?.ok_or_else(unknown)?)
    }

    /// Refuses an upload that is completed or expired.
    pub async fn require_open(&self, upload: &Upload) -> Result<(), Error> {
        if upload.done.is_some() {
            let why = "The upload is completed: what is put now would not be read";
            return Err(Refusal::not_found(why).into());
        }
        self.service.refuse_expired(upload).await
    }

    /// Step 2, for bytes that this server receives.
    pub async fn receive(&self, upload: &Upload) -> Result<UploadReceiver, Fault> {
        let receiving = self.service.inner.upload_store.receive(upload.announced.id).await?;
        Ok(UploadReceiver { receiving, expected: upload.announced.size, got: 0 })
    }

    /// Steps 3 to 6, or the first result of an upload that is already completed.
    pub async fn complete_upload(&mut self, access: &WriteAccess, id: UploadId) -> Result<Applied, Error> {
        let upload = self.service.inner.journal.upload(id).await?;
        let upload = upload.filter(|upload| upload.announced.book == *access.book()).ok_or_else(unknown)?;
        self.path = Some(upload.announced.path.clone());
        if let Some(answer) = first_answer(&upload) {
            return Ok(answer);
        }
        self.service.refuse_expired(&upload).await?;
        let ended = self.look_and_commit(&upload.announced).await;
        if let Ok(Some(kept)) = ended {
            self.service.discard(id).await;
            return Ok(kept);
        }
        // A concurrent completion may have removed the bytes from the upload store.
        let now = match ended {
            Err(Error::Broken(fault)) if fault.outcome_unknown => return Err(fault.into()),
            _ => self.service.inner.journal.upload(id).await?,
        };
        match (now.as_ref().and_then(first_answer), ended) {
            (Some(answer), _) => Ok(answer),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(unknown().into()),
        }
    }

    /// Steps 3 to 5; `None`: the upload is already completed, or its row deleted.
    async fn look_and_commit(&mut self, announced: &Announced) -> Result<Option<Applied>, Error> {
        for _ in 0..LOOKED_AT {
            let content = self.service.look(announced).await?;
            match self.change_by_upload(announced, content).await? {
                Verdict::Committed(applied) => return Ok(Some(only(applied)?)),
                Verdict::Unstaged => {}
                Verdict::UploadOver => return Ok(None),
                Verdict::Refused(_, refusal) => return Err(refusal.into()),
            }
        }
        Err(Fault::storage("gc took the staged object away again and again").into())
    }
}

impl Service {
    /// Steps 3 and 4: checks the bytes in the upload store and puts the object.
    async fn look(&self, announced: &Announced) -> Result<NewContent, Error> {
        let (id, upload_store) = (announced.id, &self.inner.upload_store);
        let arrived = upload_store.arrived(id).await?;
        if arrived != Some(announced.size) {
            if arrived.is_some() {
                upload_store.discard(id).await?;
            }
            return Err(short(announced, arrived).into());
        }
        let _turn = self.inner.large.acquire().await;
        let Some(mut parts) = upload_store.open(id).await? else { return Err(short(announced, None).into()) };
        let taken = self.spool_file(&announced.path, &mut parts, announced.size).await;
        if let Err(Error::Refused(_)) = taken {
            upload_store.discard(id).await?;
        }
        let taken = taken?;
        let (size, hash) = (taken.size(), taken.hash());
        if size != announced.size {
            upload_store.discard(id).await?;
            return Err(short(announced, Some(size)).into());
        }
        if announced.sha256.is_some_and(|announced| announced != hash) {
            upload_store.discard(id).await?;
            return Err(other_bytes(announced, hash).into());
        }
        Ok(self.stage_spooled(taken).await?)
    }

    /// Step 6. Bytes that can't be removed now are left to the upload cleanup.
    async fn discard(&self, id: UploadId) {
        if let Err(fault) = self.inner.upload_store.discard(id).await {
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
    /// Writes the next part.
    ///
    /// # Errors
    /// `UPLOAD_INCOMPLETE` when there is more than was announced; then nothing is stored.
    pub async fn write(&mut self, part: &[u8]) -> Result<(), Error> {
        self.got += part.len() as u64;
        if self.got > self.expected {
            return Err(self.refused("More has come than was announced").into());
        }
        Ok(self.receiving.write(part).await?)
    }

    /// Stores the upload in the upload store.
    ///
    /// # Errors
    /// `UPLOAD_INCOMPLETE` when there is less than was announced; then nothing is stored.
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

fn first_answer(upload: &Upload) -> Option<Applied> {
    Some(held(upload.announced.path.clone(), upload.announced.size, upload.done?))
}

/// Result for an asset that was written before.
fn held(path: BookPath, size: u64, Completion { effect, hash }: Completion) -> Applied {
    let hash = Some(hash);
    Applied { path, moved_from: None, merged: false, effect, hash, size, publication: None }
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
