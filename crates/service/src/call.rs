//! Calls: one road for every request of a caller.
//!
//! 1. **Authorize.** The caller may do this operation somewhere; what exactly it may reach is checked as
//!    the call goes on, and proved to the use case by a type (see `authorize.rs`).
//! 2. **Act.** The use cases are methods of [`Call`], which only [`Service::run`] and
//!    [`Service::run_unrecorded`] make. So none can be reached past step 1.
//! 3. **Audit.** The entry of the call, in the chain of its subject or, if the caller may not reach that,
//!    in the chain of no book, is written before its result is returned, unless the transaction
//!    of its change wrote it. A success that can't be recorded becomes a fault; a failure stays what it
//!    was, and after a fault its entry is waited for a short time only.
//!
//! Keeps R7: there is no call without an agent; and, with the audit log, R6.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use panaversity_model::audit::{AuditDraft, Operation, Outcome};
use panaversity_model::ids::{EntryId, RequestId};
use panaversity_model::permission::{Permission, Principal};
use panaversity_model::{BookId, BookPath, Error, Fault, Layer, Refusal};

use crate::service::Service;

/// Longest time that the result of a failed call waits for its audit entry.
const AFTER_A_FAULT: Duration = Duration::from_secs(3);

/// Caller of a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The agent and its permissions.
    pub principal: Principal,
    /// The request.
    pub request: RequestId,
}

/// One call of one caller. Its methods are the use cases.
pub struct Call {
    /// The caller.
    pub caller: Caller,
    /// The operation.
    pub operation: Operation,
    /// The book, once it has been parsed.
    pub book: Option<BookId>,
    /// The file, once it has been parsed and if the call is about one file.
    pub path: Option<BookPath>,
    /// The layer or view that is used.
    pub layer: Layer,
    /// Whether no audit entry is left to write: the transaction of its change wrote them, or the call gave
    /// nothing away.
    pub recorded: bool,
    /// The files that a recorded call changed, with the operations; `None`: it was not about files.
    pub changed: Option<Vec<(Operation, BookPath)>>,
    /// Whether a commit was begun, which goes on if the call is given up.
    pub committing: bool,
    pub(crate) service: Service,
    began: Duration,
}

/// A call that has ended, with its result.
pub struct EndedCall<T> {
    /// The call.
    pub call: Call,
    /// Its result.
    pub result: Result<T, Error>,
}

impl Service {
    /// A caller of a new request.
    pub fn caller(&self, principal: Principal) -> Caller {
        Caller { principal, request: RequestId::new(self.inner.ids.new_id()) }
    }

    /// Runs a call by the protocol above. A panic of `use_case` becomes a fault: a bug must neither lose
    /// the entry nor end a session.
    pub async fn run<T>(
        &self,
        caller: Caller,
        operation: Operation,
        use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
    ) -> EndedCall<T> {
        let EndedCall { call, result } = self.run_unrecorded(caller, operation, use_case).await;
        let result = call.record(result).await;
        EndedCall { call, result }
    }

    /// Runs a call without an audit entry: one that returns no content, such as a HEAD request or the
    /// completion of a name.
    pub async fn run_unrecorded<T>(
        &self,
        caller: Caller,
        operation: Operation,
        use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
    ) -> EndedCall<T> {
        let mut call = Call {
            caller,
            operation,
            book: None,
            path: None,
            layer: Layer::Base,
            recorded: false,
            changed: None,
            committing: false,
            service: self.clone(),
            began: self.inner.clock.monotonic(),
        };
        let result = match call.authorize() {
            Ok(()) => guarded(use_case(&mut call)).await,
            Err(refusal) => Err(refusal.into()),
        };
        EndedCall { call, result }
    }
}

impl Call {
    /// Time since the call began.
    pub fn elapsed(&self) -> Duration {
        self.service.inner.clock.monotonic().saturating_sub(self.began)
    }

    /// The same in milliseconds.
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The audit entry of a call that changes nothing.
    pub(crate) fn draft(&self, outcome: Outcome) -> AuditDraft {
        AuditDraft {
            id: EntryId::new(self.service.inner.ids.new_id()),
            request: self.caller.request,
            agent: self.caller.principal.agent.clone(),
            operation: self.operation,
            book: self.book.clone(),
            path: self.path.clone(),
            layer: self.layer.clone(),
            outcome,
            note: None,
            elapsed_ms: self.elapsed_ms(),
            change: None,
            old: None,
            new: None,
        }
    }

    /// Whether the caller may read what the call is about, or would be. A call may fail before that is checked.
    fn may_know_subject(&self) -> bool {
        let (principal, book) = (&self.caller.principal, self.book.as_ref());
        principal.may(Permission::Read, book)
            && principal.require_layer(Permission::Read, book, &self.layer).is_ok()
    }

    /// Step 3.
    async fn record<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if self.recorded {
            return result;
        }
        let mut draft = self.draft(outcome_of(&result));
        if result.is_err() && !self.may_know_subject() {
            // The chain of a subject tells who knows it that others used it; and it need not exist.
            (draft.book, draft.path, draft.layer) = (None, None, Layer::Base);
        }
        let appended = self.service.inner.journal.append(draft);
        let appended = match &result {
            Err(Error::Broken(_)) => tokio::time::timeout(AFTER_A_FAULT, appended).await,
            _ => Ok(appended.await),
        };
        let Err(fault) = appended.unwrap_or_else(|_| Err(Fault::database("no answer yet"))) else {
            return result;
        };
        if result.is_ok() {
            return Err(Fault { outcome_unknown: false, ..fault }.into());
        }
        tracing::warn!(
            target: "panaversity_fs.audit",
            request_id = %self.caller.request,
            error = %fault,
            "a call that gave an error could not be recorded"
        );
        result
    }
}

/// Outcome under which a result is recorded. An invalid path is in no column, so the message has it.
fn outcome_of<T>(result: &Result<T, Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        Err(Error::Refused(refusal @ Refusal::InvalidPath { path, .. })) => {
            Outcome::Refused { code: refusal.code(), message: format!("{refusal}: {path}") }
        }
        Err(Error::Refused(refusal)) => {
            Outcome::Refused { code: refusal.code(), message: refusal.to_string() }
        }
        Err(Error::Broken(fault)) => Outcome::Failed { code: fault.kind.code() },
    }
}

/// Converts a panic to a fault.
async fn guarded<T>(use_case: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let result = AssertUnwindSafe(use_case).catch_unwind().await;
    result.unwrap_or_else(|panic| Err(Fault::internal(words_of(panic.as_ref())).into()))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the call panicked: {}", words.unwrap_or("without words"))
}
