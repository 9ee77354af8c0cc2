//! Calls of this server: the service runs, authorizes and records each; here it is logged and counted,
//! whatever transport and route it came by. A log line contains no content, and no answer the detail of
//! a fault.

use std::borrow::Borrow;

use panaversity_model::audit::Operation;
use panaversity_model::{AgentId, BookId, BookPath, Error, Layer};
use panaversity_service::{Call, EndedCall};

use crate::AppState;
use crate::mcp::tools::{Group, Spec};

/// Kind of a call.
#[derive(Clone, Copy)]
pub(crate) enum CallKind {
    /// A tool's.
    Tool(&'static Spec),
    /// `resources/read`.
    Resource,
    /// `PUT /uploads/{id}`.
    Upload,
    /// `GET` of an archive. A successful one is logged and counted when its transfer ends.
    Archive,
    /// `GET` of a file below `content/`.
    Content,
}

impl CallKind {
    fn name(self) -> &'static str {
        match self {
            Self::Tool(tool) => tool.name,
            Self::Resource => "resources/read",
            Self::Upload => "PUT /uploads",
            Self::Archive => "GET archive.zip",
            Self::Content => "GET content",
        }
    }
}

impl AppState {
    /// Runs a call of an agent: authorized, recorded, logged and counted. `size` is that of the content
    /// written or read, if known.
    pub(crate) async fn run<T>(
        &self,
        kind: CallKind,
        agent: AgentId,
        operation: Operation,
        use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
        size: impl FnOnce(&T) -> Option<u64>,
    ) -> EndedCall<T> {
        let ended = self.service.run(self.service.caller(agent), operation, use_case).await;
        if let CallKind::Tool(tool) = kind {
            self.metrics.tool_called(tool.name, status(&ended.result), ended.call.elapsed());
        }
        if ended.result.is_err() || !matches!(kind, CallKind::Archive) {
            log(kind, &ended.call, ended.result.as_ref().map(size));
        }
        ended
    }

    /// Runs a call that gives no content away, such as a HEAD request: only a failure is logged.
    pub(crate) async fn run_unrecorded<T>(
        &self,
        kind: CallKind,
        agent: AgentId,
        operation: Operation,
        use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
    ) -> EndedCall<T> {
        let ended = self.service.run_unrecorded(self.service.caller(agent), operation, use_case).await;
        if let Err(error) = &ended.result {
            log(kind, &ended.call, Err(error));
        }
        ended
    }
}

fn status<T>(result: &Result<T, impl Borrow<Error>>) -> &'static str {
    match result {
        Ok(_) => "success",
        Err(error) => match error.borrow() {
            Error::Refused(_) => "refused",
            Error::Broken(_) => "failed",
        },
    }
}

/// Logs one line per call, one per recorded change, one per fault.
fn log(kind: CallKind, call: &Call, result: Result<Option<u64>, &Error>) {
    let (status, error, size) = (status(&result), result.err().map(Error::code), result.ok().flatten());
    if let Err(Error::Broken(fault)) = result {
        tracing::error!(
            target: "panaversity_fs.tools",
            request_id = %call.caller.request,
            code = fault.kind.code(),
            outcome_unknown = fault.outcome_unknown,
            path = fault.path.as_ref().map(BookPath::as_str),
            error = %fault,
            "{} failed",
            kind.name()
        );
    }
    let duration_ms = u64::try_from(call.elapsed().as_millis()).unwrap_or(u64::MAX);
    // A target is a compile-time constant, so there is one line for each group and level.
    macro_rules! line {
        ($level:ident, $target:literal) => {
            tracing::$level!(
                target: $target,
                request_id = %call.caller.request,
                agent_id = call.caller.agent.as_str(),
                book_id = call.book.as_ref().map(BookId::as_str),
                path = call.path.as_ref().map(BookPath::as_str),
                user_id = user(call),
                size,
                duration_ms,
                status,
                error_code = error,
                "{}",
                kind.name()
            )
        };
        ($target:literal) => {
            if status == "failed" { line!(warn, $target) } else { line!(info, $target) }
        };
    }
    match kind {
        CallKind::Tool(Spec { group: Group::Content, .. }) | CallKind::Resource => {
            line!("panaversity_fs.tools.content");
        }
        CallKind::Tool(Spec { group: Group::Assets, .. }) => line!("panaversity_fs.tools.assets"),
        CallKind::Tool(Spec { group: Group::Books, .. }) => line!("panaversity_fs.tools.books"),
        CallKind::Tool(Spec { group: Group::Build, .. }) => line!("panaversity_fs.tools.build"),
        CallKind::Tool(Spec { group: Group::Audit, .. }) => line!("panaversity_fs.tools.audit"),
        CallKind::Upload | CallKind::Archive | CallKind::Content => line!("panaversity_fs.http"),
    }
    if result.is_ok() && call.recorded {
        tracing::info!(
            target: "panaversity_fs.audit",
            request_id = %call.caller.request,
            book_id = call.book.as_ref().map(BookId::as_str),
            user_id = user(call),
            "logged operation={} agent_id={} path={}",
            call.operation.as_str(),
            call.caller.agent.as_str(),
            call.path.as_ref().map_or("", BookPath::as_str)
        );
    }
}

fn user(call: &Call) -> Option<&str> {
    match &call.layer {
        Layer::Base => None,
        Layer::Overlay(user) => Some(user.as_str()),
    }
}
