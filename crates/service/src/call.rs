//! A call: its agent, request id, operation and subject. The transport fills it in as it parses; the
//! audit entry is drafted from it. Keeps R7: there is no call without an agent.

use std::time::Duration;

use panaversity_model::audit::{AuditDraft, Operation, Outcome};
use panaversity_model::ids::{EntryId, RequestId};
use panaversity_model::{AgentId, BookId, BookPath, Layer};

use crate::service::Service;

/// One call of one caller.
#[derive(Debug, Clone)]
pub struct Call {
    /// Id of the request.
    pub request: RequestId,
    /// The calling agent.
    pub agent: AgentId,
    /// Requested operation.
    pub operation: Operation,
    /// The book, once it is parsed.
    pub book: Option<BookId>,
    /// The file, once it is parsed and if the call is about one file.
    pub path: Option<BookPath>,
    /// The layer or view in use.
    pub layer: Layer,
    /// True if its audit entries are already written, in the transaction of its change.
    pub recorded: bool,
    began: Duration,
}

impl Service {
    /// Starts a call.
    pub fn begin(&self, agent: AgentId, operation: Operation) -> Call {
        Call {
            request: RequestId::new(self.inner.ids.new_id()),
            agent,
            operation,
            book: None,
            path: None,
            layer: Layer::Base,
            recorded: false,
            began: self.inner.clock.monotonic(),
        }
    }

    /// Time since the call started.
    pub fn elapsed(&self, call: &Call) -> Duration {
        self.inner.clock.monotonic().saturating_sub(call.began)
    }

    pub(crate) fn elapsed_ms(&self, call: &Call) -> u64 {
        u64::try_from(self.elapsed(call).as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn draft(&self, call: &Call, outcome: Outcome) -> AuditDraft {
        AuditDraft {
            id: EntryId::new(self.inner.ids.new_id()),
            request: call.request,
            agent: call.agent.clone(),
            operation: call.operation,
            book: call.book.clone(),
            path: call.path.clone(),
            layer: call.layer.clone(),
            outcome,
            elapsed_ms: self.elapsed_ms(call),
            change: None,
            old: None,
            new: None,
        }
    }
}
