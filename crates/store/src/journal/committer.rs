//! Group commit: concurrent callers share transactions. Keeps I8 and I9.
//!
//! # Protocol
//! 1. Callers queue jobs: a change set, an audit entry, a publication to settle.
//! 2. A lane takes the queued jobs as a batch. If the previous batch had several members it waits
//!    briefly for as many again, because callers answered together call again together. Publications to
//!    settle, which no caller waits for, wait longer for other jobs: a crash meanwhile costs a repeated
//!    publication.
//! 3. The batch is prepared and committed in one transaction (see `transaction`). A batch with a
//!    change set survives a power cut, any other a killed process.
//! 4. Only then readers of the feed are woken, and each caller is answered. A caller that was cancelled has
//!    no effect on its job.
//! 5. If the database refuses a batch for a reason that is not transient, each member is tried alone,
//!    so that a failing member does not affect the others.
//! 6. If there was no response to COMMIT, the batch's audit entry is searched, under the chain's lock,
//!    which waits for the lost transaction to end. If the entry exists, the change has happened. If
//!    not, it has not, and the batch is retried. If this cannot be determined within [`OUTCOME_TIMEOUT`], the
//!    outcome is unknown; the same applies if `SQLite` could not sync, because the bytes it has written
//!    may be found by the next start.
//!
//! On `SQLite`, which has one writer, one lane processes everything. On PostgreSQL two lanes commit
//! changes, and a third everything else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use panaversity_model::audit::{AuditDraft, ChainKey};
use panaversity_model::change::{ChangeSet, Verdict};
use panaversity_model::publication::{Attempt, Publication, Settled};
use panaversity_model::{Fault, blob::BlobLocation};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::change_signals::ChangeSignals;
use super::decide::{Batch, key_of};
use super::transaction::{Decision, Leases};
use super::{publications, transaction};
use crate::backend::Backend;
use crate::database::{
    CommitFailure, Database, Dialect, Durability, Session, Sql, SqlError, fault, is_lost_connection,
    is_retryable, is_unsynced, was_answered,
};
use crate::limits::{COMMIT_TIMEOUT, OUTCOME_TIMEOUT};

/// Limits of a batch: number of members, and bytes of inline blobs.
const MEMBERS: usize = 128;
const BYTES: usize = 8 << 20;
/// Capacity of a queue, beyond which callers wait.
const QUEUE: usize = 1024;
/// Longest time that a lane waits for further jobs.
const GATHER: Duration = Duration::from_millis(2);
/// Number of attempts for a batch after transient errors.
const TRIES: u32 = 8;

type Reply<T> = oneshot::Sender<Result<T, Fault>>;

enum Job {
    Change(Box<ChangeSet>, Reply<Verdict>),
    Append(Box<AuditDraft>, Reply<()>),
    Acknowledge(Publication, Attempt, Reply<Settled>),
}

/// Queues and lanes of one server.
pub(super) struct Committer {
    queues: StdMutex<Option<Queues>>,
    lanes: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Clone)]
struct Queues {
    changes: mpsc::Sender<Job>,
    records: mpsc::Sender<Job>,
}

impl Committer {
    /// Starts the lanes. Publications to settle wait `settled_within` for other jobs.
    pub(super) fn start(
        db: &Database,
        backend: Backend,
        settled_within: Duration,
        signals: &Arc<ChangeSignals>,
    ) -> Self {
        let lane =
            |jobs| run_lane(Lane { db: db.clone(), backend, signals: signals.clone() }, jobs, settled_within);
        let (changes, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let first = lane(jobs.clone());
        let mut lanes = Vec::new();
        let records = match db.dialect() {
            Dialect::Sqlite => {
                lanes.push(on_its_own_thread(first));
                changes.clone()
            }
            Dialect::Postgres => {
                lanes.push(tokio::spawn(first));
                lanes.push(tokio::spawn(lane(jobs)));
                let (records, jobs) = mpsc::channel(QUEUE);
                lanes.push(tokio::spawn(lane(Arc::new(Mutex::new(jobs)))));
                records
            }
        };
        let queues = StdMutex::new(Some(Queues { changes, records }));
        Self { queues, lanes: Mutex::new(lanes) }
    }

    pub(super) async fn commit(&self, set: ChangeSet) -> Result<Verdict, Fault> {
        let (reply, answer) = oneshot::channel();
        self.queue(Job::Change(Box::new(set), reply)).await?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    pub(super) async fn append(&self, draft: AuditDraft) -> Result<(), Fault> {
        let (reply, answer) = oneshot::channel();
        self.queue(Job::Append(Box::new(draft), reply)).await?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    pub(super) async fn acknowledge(
        &self,
        publication: Publication,
        attempt: Attempt,
    ) -> Result<Settled, Fault> {
        let (reply, answer) = oneshot::channel();
        self.queue(Job::Acknowledge(publication, attempt, reply)).await?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    async fn queue(&self, job: Job) -> Result<(), Fault> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let closed = || Fault::database("the server is stopping and takes no more changes");
        let queues = queues.ok_or_else(closed)?;
        let queue = if matches!(job, Job::Change(..)) { queues.changes } else { queues.records };
        queue.send(job).await.map_err(|_| closed())
    }

    /// Closes the queues and waits until the lanes have processed them.
    pub(super) async fn close(&self) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).take();
        for lane in self.lanes.lock().await.drain(..) {
            // A lane that panicked has dropped its replies, so its callers get a fault.
            let _ = lane.await;
        }
    }
}

fn lost() -> Fault {
    Fault::internal("the committer dropped a job").with_unknown_outcome()
}

/// Runs a lane on its own thread. On `SQLite` each group of statements is a hand-over between threads; on the
/// shared runtime of a busy server the lane would wait to be scheduled after each.
fn on_its_own_thread(lane: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return tokio::spawn(lane);
    };
    tokio::task::spawn_blocking(move || runtime.block_on(lane))
}

/// What the jobs of a lane are processed with. Cheap to clone.
#[derive(Clone)]
struct Lane {
    db: Database,
    backend: Backend,
    signals: Arc<ChangeSignals>,
}

async fn run_lane(lane: Lane, jobs: Arc<Mutex<mpsc::Receiver<Job>>>, settled_within: Duration) {
    let mut expected = 1;
    loop {
        let batch = gather(&mut *jobs.lock().await, expected, settled_within).await;
        if batch.is_empty() {
            return;
        }
        expected = batch.len();
        // A separate task: a panic drops the replies of one batch, but does not end the lane.
        let (lane, jobs) = (lane.clone(), batch);
        let _ = tokio::spawn(async move { process(&lane, jobs).await }).await;
    }
}

/// Steps 1 and 2. Returns an empty batch when the queue is closed.
async fn gather(jobs: &mut mpsc::Receiver<Job>, expected: usize, settled_within: Duration) -> Vec<Job> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let Some(first) = jobs.recv().await else { return batch };
    bytes += size_of(&first);
    batch.push(first);
    let began = Instant::now();
    while batch.len() < MEMBERS && bytes < BYTES {
        let may_wait =
            !settled_within.is_zero() && batch.iter().all(|job| matches!(job, Job::Acknowledge(..)));
        let until = began + if may_wait { settled_within } else { GATHER };
        let next = match jobs.try_recv() {
            Ok(job) => job,
            Err(_) if batch.len() >= expected && !may_wait => break,
            Err(_) => match tokio::time::timeout_at(until, jobs.recv()).await {
                Ok(Some(job)) => job,
                Ok(None) | Err(_) => break,
            },
        };
        bytes += size_of(&next);
        batch.push(next);
    }
    batch
}

fn size_of(job: &Job) -> usize {
    let Job::Change(set, _) = job else { return 0 };
    let blobs = set.changes.iter().filter_map(|change| change.content.blob.as_ref());
    let inline = blobs.map(|blob| match &blob.location {
        BlobLocation::Inline(deflated) => deflated.len(),
        BlobLocation::Object(_) => 0,
    });
    inline.sum()
}

/// Result of a transaction, if it is committed.
struct Outcome {
    decision: Decision,
    settled: Vec<Settled>,
}

enum Failure {
    /// Failed before COMMIT: nothing was changed.
    Before(SqlError),
    /// COMMIT was sent, and there was an error or no response.
    AtCommit(SqlError, Outcome),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Before(error)
    }
}

/// Steps 3 to 6.
async fn process(lane: &Lane, jobs: Vec<Job>) {
    let Lane { db, backend, signals } = lane;
    let (mut tries, began) = (0, Instant::now());
    loop {
        tries += 1;
        let may_try = tries < TRIES && began.elapsed() < COMMIT_TIMEOUT;
        let failure = match transact(db, *backend, &jobs).await {
            Ok((outcome, leases)) => return answer(jobs, outcome, &leases, signals),
            Err(failure) => failure,
        };
        match failure {
            Failure::Before(error) if may_try && may_pass(&error) => {
                tokio::time::sleep(Duration::from_millis(u64::from(tries * tries))).await;
            }
            Failure::Before(error) if jobs.len() > 1 && was_answered(&error) && !is_retryable(&error) => {
                for job in jobs {
                    Box::pin(process(lane, vec![job])).await;
                }
                return;
            }
            Failure::Before(error) => return give_up(db, jobs, &fault("commit", &error)),
            Failure::AtCommit(error, _) if is_retryable(&error) && may_try => {}
            Failure::AtCommit(error, outcome) => match resolve(db, &jobs, &outcome, &error).await {
                Some(true) => {
                    let leases = outcome.decision.stored_leases(db).await;
                    return answer(jobs, outcome, &leases, signals);
                }
                Some(false) if may_try && may_pass(&error) => {}
                Some(false) => return give_up(db, jobs, &fault("commit", &error)),
                None => return give_up(db, jobs, &fault("commit", &error).with_unknown_outcome()),
            },
        }
    }
}

fn give_up(db: &Database, jobs: Vec<Job>, fault: &Fault) {
    db.note_write_result(false);
    refuse(jobs, fault);
}

/// True if a retry may succeed. Nothing was committed yet, so this includes a lost connection.
fn may_pass(error: &SqlError) -> bool {
    is_retryable(error) || is_lost_connection(error)
}

async fn transact(db: &Database, backend: Backend, jobs: &[Job]) -> Result<(Outcome, Leases), Failure> {
    let prepared = tokio::time::timeout(COMMIT_TIMEOUT, prepare(db, backend, jobs)).await;
    let (session, outcome) = prepared.unwrap_or(Err(SqlError::NoAnswer))?;
    let Some(session) = session else { return Ok((outcome, Leases::new())) };
    let finished = tokio::time::timeout(COMMIT_TIMEOUT, session.finish()).await;
    match finished.unwrap_or(Err(CommitFailure::AtCommit(SqlError::NoAnswer))) {
        Ok(mut answers) => {
            db.note_write_result(true);
            let leases = outcome.decision.leases(&mut answers);
            Ok((outcome, leases))
        }
        Err(CommitFailure::Before(error)) => Err(Failure::Before(error)),
        Err(CommitFailure::AtCommit(error)) => Err(Failure::AtCommit(error, outcome)),
    }
}

/// Everything before COMMIT and the writes that are sent with it; no session if there is nothing to commit.
async fn prepare(db: &Database, backend: Backend, jobs: &[Job]) -> Sql<(Option<Session>, Outcome)> {
    let (mut batch, mut settles) = (Batch { sets: Vec::new(), drafts: Vec::new() }, Vec::new());
    for job in jobs {
        match job {
            Job::Change(set, _) => batch.sets.push(set),
            Job::Append(draft, _) => batch.drafts.push(draft),
            Job::Acknowledge(publication, attempt, _) => settles.push((publication, *attempt)),
        }
    }
    let durability = if batch.sets.is_empty() { Durability::Kill } else { Durability::PowerCut };
    let mut session = db.begin(durability).await?;
    // Before the changes, so that the next version of a path takes its lease at once; on PostgreSQL after
    // them, as the rows of publications are locked after the chains.
    let early = if db.dialect() == Dialect::Sqlite { std::mem::take(&mut settles) } else { Vec::new() };
    let mut settled = publications::settle_all(db, backend, &mut session, &early).await?;
    let (decision, written) = if batch.sets.is_empty() && batch.drafts.is_empty() {
        (Decision::default(), false)
    } else {
        transaction::prepare(db, backend, &mut session, &batch).await?
    };
    settled.extend(publications::settle_all(db, backend, &mut session, &settles).await?);
    let outcome = Outcome { decision, settled };
    // All were refused: the rollback leaves nothing.
    let is_needed = written || !outcome.settled.is_empty();
    Ok((is_needed.then_some(session), outcome))
}

/// Step 6: determines if the transaction of these jobs committed, by any of its entries. `None`:
/// unknown.
async fn resolve(db: &Database, jobs: &[Job], outcome: &Outcome, error: &SqlError) -> Option<bool> {
    // Without an entry there are only refusals and settles, which are valid in either case.
    let Some((key, entry)) = witness(jobs, outcome) else { return Some(true) };
    if is_unsynced(error) {
        return None;
    }
    let until = Instant::now() + OUTCOME_TIMEOUT;
    loop {
        let (db, key, entry) = (db.clone(), key.clone(), entry.clone());
        // A separate task: a transaction cancelled in the middle would stay open in the pool.
        let asked = tokio::spawn(async move { look_up(&db, &key, &entry).await });
        match tokio::time::timeout_at(until, asked).await {
            Ok(Ok(Ok(found))) => return Some(found),
            Ok(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => return None,
        }
    }
}

/// An entry that the transaction wrote if it committed: of an accepted set, or of a call.
fn witness(jobs: &[Job], outcome: &Outcome) -> Option<(ChainKey, String)> {
    let mut place = 0;
    jobs.iter().find_map(|job| match job {
        Job::Change(set, _) => {
            place += 1;
            let change = set.changes.first().filter(|_| outcome.decision.applies(place - 1))?;
            Some((key_of(set, &change.path), change.content.entry.to_string()))
        }
        Job::Append(draft, _) => Some((draft.chain(), draft.id.to_string())),
        Job::Acknowledge(..) => None,
    })
}

/// Searches an entry under the chain's lock, which waits for the lost transaction to end, even if that
/// was creating the chain.
async fn look_up(db: &Database, key: &ChainKey, entry: &str) -> Sql<bool> {
    let mut session = db.begin(Durability::Kill).await?;
    transaction::lock_chains(db, &mut session, &BTreeSet::from([key.clone()]));
    let found = session.row("SELECT 1 FROM audit_log WHERE id = $1", vec![entry.into()]).await?;
    Ok(found.is_some())
}

/// Step 4.
fn answer(jobs: Vec<Job>, outcome: Outcome, leases: &Leases, signals: &ChangeSignals) {
    let sets = jobs.iter().filter_map(|job| match job {
        Job::Change(set, _) => Some(&**set),
        Job::Append(..) | Job::Acknowledge(..) => None,
    });
    let sets: Vec<_> = sets.collect();
    let applied = sets.iter().enumerate().filter(|(at, _)| outcome.decision.applies(*at));
    signals.note(applied.map(|(_, set)| &set.book));
    let verdicts = outcome.decision.verdicts(&sets, leases);
    let (mut verdicts, mut settled) = (verdicts.into_iter(), outcome.settled.into_iter());
    for job in jobs {
        // A cancelled caller does not receive the reply.
        match job {
            Job::Change(_, reply) => drop(verdicts.next().map(|verdict| reply.send(Ok(verdict)))),
            Job::Append(_, reply) => drop(reply.send(Ok(()))),
            Job::Acknowledge(_, _, reply) => drop(settled.next().map(|settled| reply.send(Ok(settled)))),
        }
    }
}

fn refuse(jobs: Vec<Job>, fault: &Fault) {
    for job in jobs {
        match job {
            Job::Change(_, reply) => drop(reply.send(Err(fault.clone()))),
            Job::Append(_, reply) => drop(reply.send(Err(fault.clone()))),
            Job::Acknowledge(_, _, reply) => drop(reply.send(Err(fault.clone()))),
        }
    }
}
