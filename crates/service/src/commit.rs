//! The commit protocol for changes of one file or a set of files. Keeps I8, I9 and I10.
//!
//! # Protocol
//! 1. **Check** the shape, each path against the book's schema, and, once and unlocked, each
//!    precondition: cheap refusals before any byte is written. If every file already has the requested
//!    content, the blobs are made present and the call ends.
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

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use panaversity_model::blob::{Blob, BlobLocation};
use panaversity_model::change::{Applied, Change, ChangeSet, Verdict};
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

/// Most times that a set is staged before the call fails.
const STAGED_AGAIN: usize = 20;
/// Interval at which staging checks whether `gc` has finished deleting an object.
const BEING_DELETED: Duration = Duration::from_millis(10);

/// Requested change of one file.
#[derive(Debug, Clone)]
pub struct FileChange {
    /// The file.
    pub path: BookPath,
    /// Requested content.
    pub content: TargetContent<NewContent>,
    /// Expected current hash of the file.
    pub expected: Option<ContentHash>,
}

/// Content to be written.
#[derive(Debug, Clone)]
pub enum NewContent {
    /// Bytes in memory.
    Bytes(HashedBytes),
    /// A blob whose object is already put, under this staging.
    Staged(Blob, StagingId),
}

impl FileChange {
    fn target(&self) -> TargetContent {
        match &self.content {
            TargetContent::Absent => TargetContent::Absent,
            TargetContent::Present(NewContent::Bytes(bytes)) => TargetContent::Present(bytes.hash()),
            TargetContent::Present(NewContent::Staged(blob, _)) => TargetContent::Present(blob.hash),
        }
    }
}

/// A set of changes before it is checked.
struct ChangeRequest<'a> {
    book: &'a BookId,
    layer: &'a Layer,
    changes: Vec<FileChange>,
    /// Upload that the set completes.
    upload: Option<UploadId>,
}

impl Call {
    /// Changes one file, as [`change`](Self::change).
    pub(crate) async fn change_file(
        &mut self,
        access: &WriteAccess,
        change: FileChange,
    ) -> Result<Effect, Error> {
        let effects = self.change(access, vec![change]).await?;
        Ok(effects.first().copied().unwrap_or(Effect::Unchanged))
    }

    /// Changes files of one layer of a book, all or nothing, and returns the effect of each change. On
    /// success `self.recorded` is set if the transaction wrote the audit entries.
    pub async fn change(
        &mut self,
        access: &WriteAccess,
        changes: Vec<FileChange>,
    ) -> Result<Vec<Effect>, Error> {
        if !access.may_create() {
            self.service.require_book(access.book()).await?;
        }
        let request = ChangeRequest { book: access.book(), layer: access.layer(), changes, upload: None };
        let (schema, checked) = self.service.checked(&request).await?;
        if let Some(done) = self.service.unchanged_results(&checked, &request.changes).await? {
            return Ok(done);
        }
        for _ in 0..STAGED_AGAIN {
            let attempt = self.stage_and_commit(schema, &request).await?;
            if attempt.0 == Verdict::Unstaged {
                continue;
            }
            return match self.conclude(request.changes, attempt).await? {
                Verdict::Committed(applied) => Ok(applied.iter().map(|applied| applied.effect).collect()),
                other => {
                    Err(Fault::internal(format!("a set that completes no upload ended as {other:?}")).into())
                }
            };
        }
        Err(Fault::storage("gc took the staged objects away again and again").into())
    }

    /// Completes an upload with its received content; a large blob's object must already be put. On
    /// success `self.recorded` is set: the audit entry is written. A refusal is an error.
    pub(crate) async fn change_by_upload(
        &mut self,
        upload: &Announced,
        content: NewContent,
    ) -> Result<Verdict, Error> {
        let content = TargetContent::Present(content);
        let changes = vec![FileChange { path: upload.path.clone(), content, expected: upload.expected }];
        let request =
            ChangeRequest { book: &upload.book, layer: &Layer::Base, changes, upload: Some(upload.id) };
        let (schema, _) = self.service.checked(&request).await?;
        let attempt = self.stage_and_commit(schema, &request).await?;
        self.conclude(request.changes, attempt).await
    }

    /// Steps 2 and 3. Also returns a time before the commit, and so before the leases that it took.
    async fn stage_and_commit(
        &mut self,
        schema: Schema,
        request: &ChangeRequest<'_>,
    ) -> Result<(Verdict, Duration), Fault> {
        let (set, staged) = self.stage(schema, request).await?;
        let since = self.service.inner.clock.monotonic();
        self.committing = true;
        let result = self.service.commit(set).await;
        if staged && !matches!(result, Ok(Verdict::Committed(_))) {
            self.service.inner.stats.rollbacks.fetch_add(1, Ordering::Relaxed);
        }
        Ok((result?, since))
    }

    /// Step 4, if something was committed. A refusal is an error.
    async fn conclude(
        &mut self,
        changes: Vec<FileChange>,
        (verdict, since): (Verdict, Duration),
    ) -> Result<Verdict, Error> {
        match verdict {
            Verdict::Refused(_, refusal) => Err(refusal.into()),
            Verdict::Committed(mut applied) => {
                self.recorded = true;
                self.service.publish_fresh(pending(&mut applied, changes), since).await;
                Ok(Verdict::Committed(applied))
            }
            Verdict::Unstaged | Verdict::UploadOver => Ok(verdict),
        }
    }

    /// Step 2. Also returns whether an object was put.
    async fn stage(&self, schema: Schema, request: &ChangeRequest<'_>) -> Result<(ChangeSet, bool), Fault> {
        let ids = &self.service.inner.ids;
        let (mut changes, mut staged) = (Vec::with_capacity(request.changes.len()), false);
        for change in &request.changes {
            let mut staging = None;
            let content = match &change.content {
                TargetContent::Absent => TargetContent::Absent,
                TargetContent::Present(NewContent::Staged(blob, ready)) => {
                    (staging, staged) = (Some(*ready), true);
                    TargetContent::Present(blob.clone())
                }
                TargetContent::Present(NewContent::Bytes(bytes)) => {
                    let blob = Blob::pack(bytes, self.service.inner.limits.inline_bytes);
                    if matches!(blob.location, BlobLocation::Object(_)) {
                        // If the row became live first, a crash before the put would lose the record of
                        // the damage.
                        if self.service.is_damaged(blob.hash).await? {
                            self.service.inner.objects.put(blob.hash, bytes.as_slice()).await?;
                        }
                        staging = Some(self.service.staging_of(&blob).await?);
                        self.service.inner.objects.put(blob.hash, bytes.as_slice()).await?;
                        staged = true;
                    }
                    TargetContent::Present(blob)
                }
            };
            changes.push(Change {
                path: change.path.clone(),
                content,
                expected: change.expected,
                staging,
                entry: EntryId::new(ids.new_id()),
                lease: LeaseId::new(ids.new_id()),
            });
        }
        let set = ChangeSet {
            id: ChangeId::new(ids.new_id()),
            request: self.caller.request,
            agent: self.caller.principal.agent.clone(),
            operation: self.operation,
            book: request.book.clone(),
            schema,
            layer: request.layer.clone(),
            changes,
            upload: request.upload,
            elapsed_ms: self.elapsed_ms(),
        };
        Ok((set, staged))
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
        let (schema, found) =
            tokio::try_join!(self.schema_of(book), self.inner.journal.current_metadata(&key))?;
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

    async fn checked(
        &self,
        request: &ChangeRequest<'_>,
    ) -> Result<(Schema, Vec<(Option<FileMetadata>, Effect)>), Error> {
        let ChangeRequest { book, layer, changes, .. } = request;
        // Concurrently: each is a round trip to the database.
        let (schema, held) = tokio::try_join!(self.schema_of(book), self.held(book, layer, changes))?;
        Ok((schema, check(schema, held, changes)?))
    }

    /// The schema that paths are checked against: the book's, or strict for a book that its first write
    /// will create. The commit refuses if the book has another schema by then.
    async fn schema_of(&self, book: &BookId) -> Result<Schema, Fault> {
        Ok(self.inner.journal.book(book).await?.map_or_else(Schema::default, |book| book.schema))
    }

    /// Current content of each file.
    async fn held(
        &self,
        book: &BookId,
        layer: &Layer,
        changes: &[FileChange],
    ) -> Result<Vec<Option<FileMetadata>>, Fault> {
        let mut held = Vec::with_capacity(changes.len());
        for change in changes {
            let key = FileKey { book: book.clone(), path: change.path.clone(), layer: layer.clone() };
            held.push(self.inner.journal.current_metadata(&key).await?);
        }
        Ok(held)
    }

    async fn unchanged_results(
        &self,
        checked: &[(Option<FileMetadata>, Effect)],
        changes: &[FileChange],
    ) -> Result<Option<Vec<Effect>>, Fault> {
        if checked.iter().any(|(_, effect)| *effect != Effect::Unchanged) {
            return Ok(None);
        }
        for ((found, _), change) in checked.iter().zip(changes) {
            if let (Some(found), TargetContent::Present(NewContent::Bytes(bytes))) = (found, &change.content)
            {
                self.make_present(found, bytes).await?;
            }
        }
        Ok(Some(checked.iter().map(|(_, effect)| *effect).collect()))
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

/// Step 1. Returns each file's current content and the effect that its change would have.
fn check(
    schema: Schema,
    held: Vec<Option<FileMetadata>>,
    changes: &[FileChange],
) -> Result<Vec<(Option<FileMetadata>, Effect)>, Refusal> {
    let mut paths = HashSet::new();
    let mut checked = Vec::with_capacity(changes.len());
    for (change, found) in changes.iter().zip(held) {
        // A path that was admitted earlier may be deleted under any schema.
        if !matches!(change.content, TargetContent::Absent) {
            schema.admit(&change.path)?;
        }
        if !paths.insert(&change.path) {
            return Err(Refusal::argument("path", format!("`{}` is named twice", change.path)));
        }
        let now = found.as_ref().map(|found| found.record.hash);
        let effect = decide(now, change.target(), change.expected)?;
        checked.push((found, effect));
    }
    Ok(checked)
}

/// Takes the publications on which this commit holds the lease, with the bytes that are in memory.
fn pending(applied: &mut [Applied], changes: Vec<FileChange>) -> Vec<PendingPublish> {
    let content = |content| match content {
        TargetContent::Absent => TargetContent::Absent,
        TargetContent::Present(NewContent::Bytes(bytes)) if bytes.as_slice().len() as u64 <= WHOLE_BYTES => {
            TargetContent::Present(Some(bytes.into_bytes()))
        }
        // Larger content is not kept in memory beyond the call.
        TargetContent::Present(_) => TargetContent::Present(None),
    };
    let publications = applied.iter_mut().map(|applied| applied.publication.take());
    publications
        .zip(changes)
        .filter_map(|(publication, change)| {
            Some(PendingPublish { publication: publication?, content: content(change.content) })
        })
        .collect()
}
