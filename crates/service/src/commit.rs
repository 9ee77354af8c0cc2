//! The commit protocol for changes of one file or a set of files. Keeps I8, I9 and I10.
//!
//! # Protocol
//! 1. **Check** the shape, each path against the book's schema, and, once and unlocked, each
//!    precondition: cheap refusals before any byte is written. If every file already has the requested
//!    content, the blobs are made present and the call ends. For one file whose bytes the transaction itself
//!    writes, only the path is checked, against the schema that the book had a moment ago: it saves a round
//!    trip, and the commit refuses another schema.
//! 2. **Stage**: blobs above the inline limit are marked live in the database, then put as objects.
//!    Idempotent, and harmless if abandoned. If `gc` is deleting the object, staging waits.
//! 3. **Commit**: one database transaction tests every precondition against the locked rows and writes
//!    blobs, journal, versions, audit entries and publications. It alone decides. It runs in a task of
//!    its own, which neither a disconnect of the caller nor a time limit aborts. If `gc` deleted a
//!    staged blob meanwhile, nothing is written, and 2 is repeated.
//! 4. **Publish**: the changed paths are put into the tree, for a short while within the request, then
//!    in the background. The success of a call does not depend on it.
//!
//! A crash before 3 leaves nothing visible; after 3 the change is durable and the tree follows.

mod check;
mod content;

use std::sync::atomic::Ordering;
use std::time::Duration;

use panaversity_model::audit::Operation;
use panaversity_model::blob::{Blob, BlobLocation};
use panaversity_model::change::{Applied, Change, ChangeMessage, ChangeSet, StagedContent, Verdict};
use panaversity_model::file::FileMetadata;
use panaversity_model::gc::{CONDEMNED_FOR, Staged};
use panaversity_model::hash::HashedBytes;
use panaversity_model::ids::{ChangeId, EntryId, LeaseId, StagingId, UploadId};
use panaversity_model::precondition::{Effect, TargetContent, decide};
use panaversity_model::publication::FileKey;
use panaversity_model::upload::Announced;
use panaversity_model::{BookId, BookPath, ContentHash, Error, Fault, Layer, Refusal, Schema};

use crate::authorize::WriteAccess;
use crate::blob_reader::WHOLE_BYTES;
use crate::call::Call;
use crate::publish::PendingPublish;
use crate::service::Service;
pub(crate) use check::{Checked, CheckedChange, check, first_refused};
pub use content::NewContent;

/// Most times that a set is staged before the call fails.
const STAGED_AGAIN: usize = 20;
/// Longest time that a book's schema is taken for what it was: the book may have been deleted since.
const SCHEMA_USED_FOR: Duration = Duration::from_secs(5);
/// Interval at which staging checks whether `gc` has finished deleting an object.
const BEING_DELETED: Duration = Duration::from_millis(10);

/// A set of changes before it is checked.
struct ChangeRequest<'a> {
    book: &'a BookId,
    layer: &'a Layer,
    changes: Vec<Change<NewContent>>,
    message: Option<ChangeMessage>,
    /// Upload that the set completes.
    upload: Option<UploadId>,
}

/// A change set that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedSet {
    /// Its id; `None`: every file already was as requested, or the set was only checked, and nothing was
    /// recorded as a change.
    pub change: Option<ChangeId>,
    /// The result of each change, in order.
    pub files: Vec<Applied>,
}

/// Result of a change set: the index of the change that it was refused for, or the set.
pub(crate) type SetResult = Result<AppliedSet, (usize, Refusal)>;

impl Call {
    /// Changes one file, as [`change`](Self::change). A conflict says what happened to the file.
    pub(crate) async fn change_file(
        &mut self,
        access: &WriteAccess,
        change: Change<NewContent>,
    ) -> Result<Applied, Error> {
        let (path, expected) = (change.path.clone(), change.expected);
        let result = if self.service.is_inline(&change.content) {
            self.change_inline(access, change).await?
        } else {
            self.change_set(access, vec![change], None).await?
        };
        match result {
            Ok(set) => Ok(only(set.files)?),
            Err((_, refusal)) => Err(self.explained(access, &path, expected, refusal).await?.into()),
        }
    }

    /// Changes files of one layer of a book, all or nothing. On success `self.recorded` is set if the
    /// transaction wrote the audit entries.
    pub async fn change(
        &mut self,
        access: &WriteAccess,
        changes: Vec<Change<NewContent>>,
    ) -> Result<AppliedSet, Error> {
        Ok(self.change_set(access, changes, None).await?.map_err(|(_, refusal)| refusal)?)
    }

    /// The same for a set with a message. A refusal names the change that caused it.
    pub(crate) async fn change_set(
        &mut self,
        access: &WriteAccess,
        changes: Vec<Change<NewContent>>,
        message: Option<ChangeMessage>,
    ) -> Result<SetResult, Error> {
        if !access.may_create() {
            self.service.require_book(access.book()).await?;
        }
        let (book, layer) = (access.book(), access.layer());
        let request = ChangeRequest { book, layer, changes, message, upload: None };
        let (schema, checked) = self.service.checked(&request).await?;
        let checked = match first_refused(checked) {
            Ok(checked) => checked,
            Err(refused) => return Ok(Err(refused)),
        };
        if checked.iter().all(|(_, effect)| *effect == Effect::Unchanged) {
            self.service.make_all_present(&checked, &request.changes).await?;
            return Ok(Ok(unrecorded(&checked, &request.changes)));
        }
        let mut attempt = self.stage_and_commit(schema, &request).await?;
        for _ in 1..STAGED_AGAIN {
            if attempt.1 != Verdict::Unstaged {
                break;
            }
            attempt = self.stage_and_commit(schema, &request).await?;
        }
        let change = attempt.0;
        match self.conclude(request.changes, attempt).await {
            Verdict::Refused(index, refusal) => Ok(Err((index, refusal))),
            Verdict::Committed(files) => Ok(Ok(AppliedSet { change: Some(change), files })),
            Verdict::Unstaged => {
                Err(Fault::storage("gc took the staged objects away again and again").into())
            }
            Verdict::UploadOver => Err(odd_end().into()),
        }
    }

    /// Changes one file whose content has no object to stage: the commit alone decides.
    async fn change_inline(
        &mut self,
        access: &WriteAccess,
        change: Change<NewContent>,
    ) -> Result<SetResult, Error> {
        let (book, layer) = (access.book(), access.layer());
        if !access.may_create() {
            self.service.require_book(book).await?;
        }
        let schema = match self.service.admitting_schema(book, &change).await? {
            Ok(schema) => schema,
            Err(refusal) => return Ok(Err((0, refusal))),
        };
        let request = ChangeRequest { book, layer, changes: vec![change], message: None, upload: None };
        let attempt = self.stage_and_commit(schema, &request).await?;
        let change = attempt.0;
        match self.conclude(request.changes, attempt).await {
            Verdict::Refused(index, refusal) => {
                // It may have been refused for another schema.
                self.service.inner.schemas.remove(book);
                Ok(Err((index, refusal)))
            }
            Verdict::Committed(files) => Ok(Ok(AppliedSet { change: Some(change), files })),
            Verdict::Unstaged | Verdict::UploadOver => Err(odd_end().into()),
        }
    }

    /// Completes an upload with its received content; a large blob's object must already be put. On
    /// success `self.recorded` is set: the audit entry is written. A refusal is an error.
    pub(crate) async fn change_by_upload(
        &mut self,
        upload: &Announced,
        content: NewContent,
    ) -> Result<Verdict, Error> {
        let change = Change::new(Operation::Upload, upload.path.clone(), content, upload.expected);
        let request = ChangeRequest {
            book: &upload.book,
            layer: &Layer::Base,
            changes: vec![change],
            message: None,
            upload: Some(upload.id),
        };
        let (schema, checked) = self.service.checked(&request).await?;
        first_refused(checked).map_err(|(_, refusal)| refusal)?;
        let attempt = self.stage_and_commit(schema, &request).await?;
        match self.conclude(request.changes, attempt).await {
            Verdict::Refused(_, refusal) => Err(refusal.into()),
            verdict => Ok(verdict),
        }
    }

    /// Steps 2 and 3. Also returns the id of the set, and a time before the commit, and so before the leases
    /// that it took.
    async fn stage_and_commit(
        &mut self,
        schema: Schema,
        request: &ChangeRequest<'_>,
    ) -> Result<(ChangeId, Verdict, Duration), Fault> {
        let set = self.stage(schema, request).await?;
        let (id, staged) = (set.id, set.changes.iter().any(|change| change.content.staging.is_some()));
        let since = self.service.inner.clock.monotonic();
        self.committing = true;
        let result = self.service.commit(set).await;
        if staged && !matches!(result, Ok(Verdict::Committed(_))) {
            self.service.inner.stats.rollbacks.fetch_add(1, Ordering::Relaxed);
        }
        Ok((id, result?, since))
    }

    /// Step 4, if something was committed.
    async fn conclude(
        &mut self,
        changes: Vec<Change<NewContent>>,
        (_, verdict, since): (ChangeId, Verdict, Duration),
    ) -> Verdict {
        let Verdict::Committed(mut applied) = verdict else { return verdict };
        self.recorded = true;
        let recorded =
            changes.iter().zip(&applied).filter(|(_, applied)| applied.effect != Effect::Unchanged);
        self.changed = Some(recorded.map(|(change, _)| (change.operation, change.path.clone())).collect());
        self.service.publish_fresh(pending(&mut applied, changes), since).await;
        Verdict::Committed(applied)
    }

    /// Step 2.
    async fn stage(&self, schema: Schema, request: &ChangeRequest<'_>) -> Result<ChangeSet, Fault> {
        let ids = &self.service.inner.ids;
        let mut changes = Vec::with_capacity(request.changes.len());
        for change in &request.changes {
            changes.push(change.with_content(self.service.stage_content(&change.content).await?));
        }
        Ok(ChangeSet {
            id: ChangeId::new(ids.new_id()),
            request: self.caller.request,
            agent: self.caller.principal.agent.clone(),
            message: request.message.clone(),
            book: request.book.clone(),
            schema,
            layer: request.layer.clone(),
            changes,
            lease: LeaseId::new(ids.new_id()),
            upload: request.upload,
            elapsed_ms: self.elapsed_ms(),
        })
    }
}

impl Service {
    /// Step 1 for content whose bytes are not sent yet: checks whether this write would be accepted. For
    /// a new file it also checks for a conflicting path, one more round trip, which a change that has
    /// its bytes leaves to the commit.
    pub(crate) async fn check_write(
        &self,
        book: &BookId,
        path: &BookPath,
        hash: ContentHash,
        expected: Option<ContentHash>,
    ) -> Result<(Option<FileMetadata>, Effect), Error> {
        let key = FileKey { book: book.clone(), path: path.clone(), layer: Layer::Base };
        let keys = std::slice::from_ref(&key);
        let (schema, found) =
            tokio::try_join!(self.schema_of(book), self.inner.journal.current_metadata(keys))?;
        let found = found.into_iter().next().flatten();
        schema.admit(path)?;
        let effect =
            decide(found.as_ref().map(|found| found.record.hash), TargetContent::Present(hash), expected)?;
        if effect == Effect::Created
            && let Some(other) = self.inner.journal.conflicting_path(&key).await?
        {
            return Err(Refusal::path_conflict(path, &other).into());
        }
        Ok((found, effect))
    }

    /// Refuses a path that the book's schema does not admit.
    pub(crate) async fn require_admitted(&self, book: &BookId, path: &BookPath) -> Result<(), Error> {
        Ok(self.schema_of(book).await?.admit(path)?)
    }

    async fn checked(&self, request: &ChangeRequest<'_>) -> Result<(Schema, Vec<Checked>), Fault> {
        let ChangeRequest { book, layer, changes, .. } = request;
        let (schema, held) = self.held_with_schema(book, layer, changes).await?;
        Ok((schema, check(schema, held, changes)))
    }

    /// Step 1 alone: the effects that a set would have, as far as can be told without committing it.
    pub(crate) async fn dry_run(
        &self,
        access: &WriteAccess,
        changes: &[Change<NewContent>],
    ) -> Result<SetResult, Fault> {
        let (schema, held) = self.held_with_schema(access.book(), access.layer(), changes).await?;
        Ok(first_refused(check(schema, held, changes)).map(|checked| unrecorded(&checked, changes)))
    }

    /// The schema of a book, and the file that each change would replace.
    pub(crate) async fn held_with_schema(
        &self,
        book: &BookId,
        layer: &Layer,
        changes: &[Change<NewContent>],
    ) -> Result<(Schema, Vec<Option<FileMetadata>>), Fault> {
        // Concurrently: each is a round trip to the database.
        tokio::try_join!(self.schema_of(book), self.held(book, layer, changes))
    }

    /// The schema that paths are checked against: the book's, or strict for a book that its first write
    /// will create. The commit refuses if the book has another schema by then.
    async fn schema_of(&self, book: &BookId) -> Result<Schema, Fault> {
        Ok(self.stored_schema(book).await?.unwrap_or_default())
    }

    /// The schema of a book, if it exists.
    pub(crate) async fn stored_schema(&self, book: &BookId) -> Result<Option<Schema>, Fault> {
        let schema = self.inner.journal.book(book).await?.map(|book| book.schema);
        if let Some(schema) = schema {
            self.inner.schemas.insert(book.clone(), (schema, self.inner.clock.monotonic()));
        }
        Ok(schema)
    }

    /// True if the transaction of a commit itself writes this content.
    fn is_inline(&self, content: &NewContent) -> bool {
        match content {
            NewContent::Absent => true,
            NewContent::Bytes(bytes) => {
                Blob::is_inline(bytes.as_slice().len(), self.inner.limits.inline_bytes)
            }
            NewContent::Staged(..) | NewContent::Stored(_) => false,
        }
    }

    /// A schema of the book that admits a change: the one that it had a moment ago, or else the one that it has.
    async fn admitting_schema(
        &self,
        book: &BookId,
        change: &Change<NewContent>,
    ) -> Result<Result<Schema, Refusal>, Fault> {
        // A path that was admitted earlier may be deleted under any schema.
        let admit = |schema: Schema| match change.content {
            NewContent::Absent => Ok(schema),
            _ => schema.admit(&change.path).map(|()| schema),
        };
        let now = self.inner.clock.monotonic();
        let recent = |(schema, at): (_, Duration)| {
            (now.saturating_sub(at) < SCHEMA_USED_FOR)
                .then_some(schema)
                .filter(|schema| admit(*schema).is_ok())
        };
        match self.inner.schemas.get(book).and_then(recent) {
            Some(schema) => Ok(Ok(schema)),
            None => Ok(admit(self.schema_of(book).await?)),
        }
    }

    /// Current content of each file.
    async fn held(
        &self,
        book: &BookId,
        layer: &Layer,
        changes: &[Change<NewContent>],
    ) -> Result<Vec<Option<FileMetadata>>, Fault> {
        let key = |change: &Change<NewContent>| FileKey {
            book: book.clone(),
            path: change.path.clone(),
            layer: layer.clone(),
        };
        let keys: Vec<_> = changes.iter().map(key).collect();
        self.inner.journal.current_metadata(&keys).await
    }

    /// Makes the blobs of unchanged files present, as far as their bytes are at hand.
    async fn make_all_present(
        &self,
        checked: &[CheckedChange],
        changes: &[Change<NewContent>],
    ) -> Result<(), Fault> {
        for ((found, _), change) in checked.iter().zip(changes) {
            if let (Some(found), NewContent::Bytes(bytes)) = (found, &change.content) {
                self.make_present(found, bytes).await?;
            }
        }
        Ok(())
    }

    /// Step 2 for the content of one file.
    async fn stage_content(&self, content: &NewContent) -> Result<StagedContent, Fault> {
        let (blob, staging) = match content {
            NewContent::Absent => (None, None),
            NewContent::Staged(blob, staging) => (Some(blob.clone()), Some(*staging)),
            NewContent::Stored(blob) => (Some(blob.clone()), self.stage_stored(blob).await?),
            NewContent::Bytes(bytes) => {
                let blob = Blob::pack(bytes, self.inner.limits.inline_bytes);
                let staging = self.stage_bytes(&blob, bytes).await?;
                (Some(blob), staging)
            }
        };
        Ok(StagedContent { blob, staging, entry: EntryId::new(self.inner.ids.new_id()) })
    }

    async fn stage_stored(&self, blob: &Blob) -> Result<Option<StagingId>, Fault> {
        if matches!(blob.location, BlobLocation::Inline(_)) {
            return Ok(None);
        }
        let staging = self.staging_of(blob).await?;
        if self.inner.objects.stat(blob.hash).await? != Some(blob.size) {
            return Err(Fault::corrupt(format!("the object {} is missing", blob.hash)));
        }
        Ok(Some(staging))
    }

    async fn stage_bytes(&self, blob: &Blob, bytes: &HashedBytes) -> Result<Option<StagingId>, Fault> {
        if matches!(blob.location, BlobLocation::Inline(_)) {
            return Ok(None);
        }
        // If the row became live first, a crash before the put would lose the record of the damage.
        if self.is_damaged(blob.hash).await? {
            self.inner.objects.put(blob.hash, bytes.as_slice()).await?;
        }
        let staging = self.staging_of(blob).await?;
        self.inner.objects.put(blob.hash, bytes.as_slice()).await?;
        Ok(Some(staging))
    }

    /// Marks a blob live, once no `gc` is deleting it.
    pub(crate) async fn staging_of(&self, blob: &Blob) -> Result<StagingId, Fault> {
        let began = self.inner.clock.monotonic();
        loop {
            let fresh = StagingId::new(self.inner.ids.new_id());
            match self.inner.journal.stage(blob, fresh).await? {
                Staged::Ready(staging) => return Ok(staging),
                Staged::BeingDeleted => {}
            }
            if self.inner.clock.monotonic().saturating_sub(began) > CONDEMNED_FOR * 2 {
                return Err(Fault::storage(format!("gc does not finish deleting the object {}", blob.hash)));
            }
            tokio::time::sleep(BEING_DELETED).await;
        }
    }

    /// Step 3, in a task of its own.
    async fn commit(&self, set: ChangeSet) -> Result<Verdict, Fault> {
        let journal = self.inner.journal.clone();
        let task = tokio::spawn(async move { journal.commit(set).await });
        task.await.unwrap_or_else(|broken| Err(Fault::internal(broken.to_string()).with_unknown_outcome()))
    }
}

/// The result of a set that nothing was recorded for.
fn unrecorded(checked: &[CheckedChange], changes: &[Change<NewContent>]) -> AppliedSet {
    let files = changes.iter().zip(checked).map(|(change, (_, effect))| change.applied(*effect));
    AppliedSet { change: None, files: files.collect() }
}

/// A verdict that the set can't have.
fn odd_end() -> Fault {
    Fault::internal("a set without an upload, or without a staged object, ended as one with it")
}

/// The result of a set of one change.
pub(crate) fn only(files: Vec<Applied>) -> Result<Applied, Fault> {
    files.into_iter().next().ok_or_else(|| Fault::internal("a change has no result"))
}

/// Takes the publications on which this commit holds the lease, with the bytes that are in memory.
fn pending(applied: &mut [Applied], changes: Vec<Change<NewContent>>) -> Vec<PendingPublish> {
    let content = |content| match content {
        NewContent::Absent => TargetContent::Absent,
        NewContent::Bytes(bytes) if bytes.as_slice().len() as u64 <= WHOLE_BYTES => {
            TargetContent::Present(Some(bytes.into_bytes()))
        }
        // Larger content is not kept in memory beyond the call.
        NewContent::Bytes(_) | NewContent::Staged(..) | NewContent::Stored(_) => TargetContent::Present(None),
    };
    let publications = applied.iter_mut().map(|applied| applied.publication.take());
    publications
        .zip(changes)
        .filter_map(|(publication, change)| {
            Some(PendingPublish { publication: publication?, content: content(change.content) })
        })
        .collect()
}
