//! The commit protocol: how one file or a set changes. Keeps I8, I9 and I10.
//!
//! # Protocol
//! 1. **Check** the shape, each path against the book's schema, and, once and unlocked, each
//!    precondition: cheap refusals before any byte moves. If every file is already as wished,
//!    the blobs are made present and that is all.
//! 2. **Stage**: blobs above the inline limit are marked live in the database, then put as
//!    objects. Idempotent, and harmless if abandoned. What `gc` is deleting is waited for.
//! 3. **Commit**: one database transaction tests every precondition against the locked rows and
//!    writes blobs, journal, versions, audit entries and publications. It alone decides. It runs
//!    in a task of its own, which neither the caller's going away nor a time limit aborts. If
//!    `gc` took a staged blob away meanwhile, nothing happened, and 2 is done again.
//! 4. **Publish**: the changed paths are put into the tree, for a short while within the request,
//!    then in the background. Nobody's success depends on it.
//!
//! A crash before 3 leaves nothing visible; after 3 the change is durable and the tree catches up.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use panaversity_model::blob::{Blob, Place};
use panaversity_model::change::{Act, Applied, Change, ChangeSet, Verdict};
use panaversity_model::file::Found;
use panaversity_model::garbage::{CONDEMNED_FOR, Staged};
use panaversity_model::ids::{ChangeId, EntryId, LeaseId, StagingId};
use panaversity_model::precondition::{Effect, Wish, decide};
use panaversity_model::publication::FileKey;
use panaversity_model::{BookId, BookPath, ContentHash, Error, Fault, Layer, Refusal, Schema};

use crate::call::Call;
use crate::publish::Fresh;
use crate::service::Service;

/// How often a set is staged before it is given up.
const STAGED_AGAIN: usize = 20;
/// How soon it is looked again whether `gc` has finished with an object.
const BEING_DELETED: Duration = Duration::from_millis(10);

/// What a caller wants of one file.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The file.
    pub path: BookPath,
    /// Its new bytes; `None`: it goes away.
    pub bytes: Option<Vec<u8>>,
    /// What the caller expects it to hold.
    pub expected: Option<ContentHash>,
}

impl Wanted {
    fn wish(&self) -> Wish {
        self.bytes.as_deref().map_or(Wish::Gone, |bytes| Wish::Hold(ContentHash::of(bytes)))
    }
}

/// What became of one wanted change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// What happened.
    pub effect: Effect,
    /// What the file held before.
    pub old: Option<ContentHash>,
}

impl Service {
    /// Changes files of one layer of a book, all or nothing. On success `call.recorded` tells
    /// that the audit entries are written.
    pub async fn change(
        &self,
        call: &mut Call,
        book: &BookId,
        layer: &Layer,
        wanted: Vec<Wanted>,
    ) -> Result<Vec<Done>, Error> {
        // Side by side: each is a round trip to the database.
        let (schema, held) = tokio::try_join!(self.schema_of(book), self.held(book, layer, &wanted))?;
        let checked = check(schema, held, &wanted)?;
        if let Some(done) = self.already_so(&checked, &wanted).await? {
            return Ok(done);
        }
        let (verdict, since) = self.stage_and_commit(call, book, schema, layer, &wanted).await?;
        match verdict {
            Verdict::Refused(_, refusal) => Err(refusal.into()),
            Verdict::Unstaged => {
                Err(Fault::storage("gc took the staged objects away again and again").into())
            }
            Verdict::Committed(applied) => {
                call.recorded = true;
                let done = applied.iter().map(|a| Done { effect: a.effect, old: a.old }).collect();
                self.publish_fresh(fresh(applied, wanted), since).await;
                Ok(done)
            }
        }
    }

    /// Steps 2 and 3, again if `gc` came in between. Also gives a moment before the commit, and so
    /// before the leases it took.
    async fn stage_and_commit(
        &self,
        call: &Call,
        book: &BookId,
        schema: Schema,
        layer: &Layer,
        wanted: &[Wanted],
    ) -> Result<(Verdict, Duration), Fault> {
        for _ in 0..STAGED_AGAIN {
            let (set, staged) = self.stage(call, book, schema, layer, wanted).await?;
            let since = self.inner.world.monotonic();
            let result = self.commit(set).await;
            if staged && !matches!(result, Ok(Verdict::Committed(_))) {
                self.inner.stats.rollbacks.fetch_add(1, Ordering::Relaxed);
            }
            match result {
                Ok(Verdict::Unstaged) => {}
                result => return Ok((result?, since)),
            }
        }
        Ok((Verdict::Unstaged, Duration::ZERO))
    }

    /// The schema paths are admitted by: the book's, or strict for a book that its first write
    /// will create. The commit refuses if it is another by then.
    async fn schema_of(&self, book: &BookId) -> Result<Schema, Fault> {
        Ok(self.inner.journal.book(book).await?.map_or_else(Schema::default, |book| book.schema))
    }

    /// What each file holds now.
    async fn held(
        &self,
        book: &BookId,
        layer: &Layer,
        wanted: &[Wanted],
    ) -> Result<Vec<Option<Found>>, Fault> {
        let mut held = Vec::with_capacity(wanted.len());
        for want in wanted {
            let key = FileKey { book: book.clone(), path: want.path.clone(), layer: layer.clone() };
            held.push(self.inner.journal.holds(&key).await?);
        }
        Ok(held)
    }

    async fn already_so(
        &self,
        checked: &[(Option<Found>, Effect)],
        wanted: &[Wanted],
    ) -> Result<Option<Vec<Done>>, Fault> {
        if checked.iter().any(|(_, effect)| *effect != Effect::Unchanged) {
            return Ok(None);
        }
        for ((found, _), want) in checked.iter().zip(wanted) {
            if let (Some(found), Some(bytes)) = (found, &want.bytes) {
                self.make_present(&found.blob, bytes).await?;
            }
        }
        let done = checked.iter().map(|(found, effect)| Done {
            effect: *effect,
            old: found.as_ref().map(|found| found.record.hash),
        });
        Ok(Some(done.collect()))
    }

    /// Step 2. Also tells whether an object was put.
    async fn stage(
        &self,
        call: &Call,
        book: &BookId,
        schema: Schema,
        layer: &Layer,
        wanted: &[Wanted],
    ) -> Result<(ChangeSet, bool), Fault> {
        let world = &self.inner.world;
        let (mut changes, mut staged) = (Vec::with_capacity(wanted.len()), false);
        for want in wanted {
            let mut staging = None;
            let act = match &want.bytes {
                None => Act::Delete,
                Some(bytes) => {
                    let blob = Blob::pack(bytes, self.inner.limits.inline_bytes);
                    if matches!(blob.place, Place::Object(_)) {
                        staging = Some(self.staging_of(&blob).await?);
                        self.inner.objects.put(blob.hash, bytes).await?;
                        staged = true;
                    }
                    Act::Write(blob)
                }
            };
            changes.push(Change {
                path: want.path.clone(),
                act,
                expected: want.expected,
                staging,
                entry: EntryId::new(world.fresh_id()),
                lease: LeaseId::new(world.fresh_id()),
            });
        }
        let set = ChangeSet {
            id: ChangeId::new(world.fresh_id()),
            request: call.request,
            agent: call.agent.clone(),
            operation: call.operation,
            book: book.clone(),
            schema,
            layer: layer.clone(),
            changes,
            elapsed_ms: self.elapsed_ms(call),
        };
        Ok((set, staged))
    }

    /// Marks a blob live, as soon as no `gc` is deleting it.
    async fn staging_of(&self, blob: &Blob) -> Result<StagingId, Fault> {
        let began = self.inner.world.monotonic();
        loop {
            let fresh = StagingId::new(self.inner.world.fresh_id());
            match self.inner.journal.stage(blob, fresh).await? {
                Staged::Ready(staging) => return Ok(staging),
                Staged::BeingDeleted => {}
            }
            if self.inner.world.monotonic().saturating_sub(began) > CONDEMNED_FOR * 2 {
                return Err(Fault::storage(format!("gc does not let go of the object {}", blob.hash)));
            }
            tokio::time::sleep(BEING_DELETED).await;
        }
    }

    /// Step 3.
    async fn commit(&self, set: ChangeSet) -> Result<Verdict, Fault> {
        let journal = self.inner.journal.clone();
        let task = tokio::spawn(async move { journal.commit(set).await });
        task.await.unwrap_or_else(|broken| Err(Fault::internal(broken.to_string()).with_unknown_outcome()))
    }
}

/// Step 1. Gives what each file holds now and what would happen to it.
fn check(
    schema: Schema,
    held: Vec<Option<Found>>,
    wanted: &[Wanted],
) -> Result<Vec<(Option<Found>, Effect)>, Refusal> {
    let mut paths = HashSet::new();
    let mut checked = Vec::with_capacity(wanted.len());
    for (want, found) in wanted.iter().zip(held) {
        // What a book admitted once it also lets go, so a deletion needs no schema.
        if want.bytes.is_some() {
            schema.admit(&want.path)?;
        }
        if !paths.insert(&want.path) {
            return Err(Refusal::argument("path", format!("`{}` is named twice", want.path)));
        }
        let now = found.as_ref().map(|found| found.record.hash);
        let effect = decide(now, want.wish(), want.expected)?;
        checked.push((found, effect));
    }
    Ok(checked)
}

/// The publications this commit holds the lease on, with the bytes that are already at hand.
fn fresh(applied: Vec<Applied>, wanted: Vec<Wanted>) -> Vec<Fresh> {
    let pairs = applied.into_iter().zip(wanted);
    pairs
        .filter_map(|(applied, want)| {
            applied.publication.map(|publication| Fresh { publication, bytes: want.bytes })
        })
        .collect()
}
