//! Calls of this server: the service runs, authorizes and records each; here it is logged and counted,
//! whatever transport and route it came by. A log line contains no content, and no answer the detail of
//! a fault.

use std::time::Duration;

use axum::http::{Extensions, HeaderMap};
use panaversity_model::audit::Operation;
use panaversity_model::fault::FaultKind;
use panaversity_model::permission::Principal;
use panaversity_model::{AgentId, BookId, BookPath, Error, Fault, Layer, Refusal};
use panaversity_service::{Call, EndedCall};

use crate::AppState;
use crate::limits::ServerLimits;
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
    /// `GET` of the feed of changes, also of one that goes on.
    Changes,
    /// A book of `subscriptions/listen`.
    Subscription,
    /// A page for people, or a form of one.
    Page(&'static str),
    /// A method of MCP that gives names alone.
    Names(&'static str),
}

impl CallKind {
    fn name(self) -> &'static str {
        match self {
            Self::Tool(tool) => tool.name,
            Self::Resource => "resources/read",
            Self::Upload => "PUT /uploads",
            Self::Archive => "GET archive.zip",
            Self::Content => "GET content",
            Self::Changes => "GET changes",
            Self::Subscription => "subscriptions/listen",
            Self::Page(name) | Self::Names(name) => name,
        }
    }

    /// Longest time to its result; transfers of whole files have limits of their own.
    fn timeout(self, limits: &ServerLimits) -> Option<Duration> {
        match self {
            // Its time is that of the file, which is hashed once more.
            Self::Tool(tool) if tool.name == "complete_upload" => Some(limits.large_call_timeout),
            Self::Tool(tool) if matches!(tool.operation, Operation::Verify | Operation::Validate) => {
                Some(limits.large_call_timeout)
            }
            Self::Tool(_)
            | Self::Resource
            | Self::Changes
            | Self::Subscription
            | Self::Page(_)
            | Self::Names(_) => Some(limits.call_timeout),
            Self::Upload | Self::Archive | Self::Content => None,
        }
    }
}

impl AppState {
    /// Runs a call of a principal: authorized, recorded, logged and counted. `size` is that of the content
    /// written or read, if known.
    pub(crate) async fn run<T>(
        &self,
        kind: CallKind,
        principal: Principal,
        operation: Operation,
        use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
        size: impl FnOnce(&T) -> Option<u64>,
    ) -> EndedCall<T> {
        let use_case = async |call: &mut Call| match kind.timeout(&self.limits) {
            Some(limit) => within(limit, call, use_case).await,
            None => use_case(call).await,
        };
        let ended = self.service.run(self.service.caller(principal), operation, use_case).await;
        self.note_missing_scope(ended.result.as_ref().err());
        if let CallKind::Tool(tool) = kind {
            self.metrics.tool_called(tool.name, status(ended.result.as_ref().err()), ended.call.elapsed());
        }
        match &ended.result {
            Ok(_) if matches!(kind, CallKind::Archive) => {}
            Ok(result) => self.log(kind, &ended.call, None, size(result)),
            Err(error) => self.log(kind, &ended.call, Some(error), None),
        }
        ended
    }

    /// Runs a call that gives no content away, such as a HEAD request, within the time of a call: only a
    /// failure is logged.
    pub(crate) async fn run_unrecorded<T>(
        &self,
        kind: CallKind,
        principal: Principal,
        operation: Operation,
        use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
    ) -> EndedCall<T> {
        let use_case = async |call: &mut Call| within(self.limits.call_timeout, call, use_case).await;
        let ended = self.service.run_unrecorded(self.service.caller(principal), operation, use_case).await;
        self.note_missing_scope(ended.result.as_ref().err());
        if let Err(error) = &ended.result {
            self.log(kind, &ended.call, Some(error), None);
        }
        ended
    }

    /// Records the scope that a call lacked, for the HTTP answer.
    pub(crate) fn note_missing_scope(&self, error: Option<&Error>) {
        if let Some(Error::Refused(Refusal::Forbidden { scope: Some(scope) })) = error {
            self.missing_scope.set(scope.clone());
        }
    }

    /// Logs one line per call, one per recorded change, one per fault.
    fn log(&self, kind: CallKind, call: &Call, error: Option<&Error>, size: Option<u64>) {
        let (status, duration_ms) = (status(error), call.elapsed_ms());
        let trace_id = self.trace.as_ref().map(tracing::field::display);
        if let Some(Error::Broken(fault)) = error {
            tracing::error!(
                target: "panaversity_fs.tools",
                request_id = %call.caller.request,
                trace_id,
                code = fault.kind.code().as_str(),
                outcome_unknown = fault.outcome_unknown,
                path = fault.path.as_ref().map(BookPath::as_str),
                error = %fault,
                "{} failed",
                kind.name()
            );
        }
        // A target is a compile-time constant, so there is one line for each group and level.
        macro_rules! line {
            ($level:ident, $target:literal) => {
                tracing::$level!(
                    target: $target,
                    request_id = %call.caller.request,
                trace_id,
                    agent_id = call.caller.principal.agent.as_str(),
                    book_id = call.book.as_ref().map(BookId::as_str),
                    path = call.path.as_ref().map(BookPath::as_str),
                    user_id = user(call),
                    size,
                    duration_ms,
                    status,
                    error_code = error.map(|error| error.code().as_str()),
                    "{}",
                    kind.name()
                )
            };
            ($target:literal) => {
                if status == "failed" { line!(warn, $target) } else { line!(info, $target) }
            };
        }
        match kind {
            CallKind::Tool(Spec { group: Group::Content, .. })
            | CallKind::Resource
            | CallKind::Names(_)
            | CallKind::Subscription => {
                line!("panaversity_fs.tools.content");
            }
            CallKind::Tool(Spec { group: Group::Assets, .. }) => line!("panaversity_fs.tools.assets"),
            CallKind::Tool(Spec { group: Group::Books, .. }) => line!("panaversity_fs.tools.books"),
            CallKind::Tool(Spec { group: Group::Build, .. }) => line!("panaversity_fs.tools.build"),
            CallKind::Tool(Spec { group: Group::Audit, .. }) => line!("panaversity_fs.tools.audit"),
            CallKind::Upload
            | CallKind::Archive
            | CallKind::Content
            | CallKind::Changes
            | CallKind::Page(_) => {
                line!("panaversity_fs.http");
            }
        }
        if error.is_none() && call.recorded {
            self.log_changes(call);
        }
    }

    /// Logs the recorded changes of a call; one that is not about files, such as the creation of a book, as a
    /// whole.
    fn log_changes(&self, call: &Call) {
        let whole = (call.operation, call.path.as_ref().map_or("", BookPath::as_str));
        let changed = call.changed.iter().flatten().map(|(operation, path)| (*operation, path.as_str()));
        let whole = call.changed.is_none().then_some(whole);
        for (operation, path) in changed.chain(whole) {
            tracing::info!(
                target: "panaversity_fs.audit",
                request_id = %call.caller.request,
                trace_id = self.trace.as_ref().map(tracing::field::display),
                book_id = call.book.as_ref().map(BookId::as_str),
                user_id = user(call),
                "logged operation={} agent_id={} path={path}",
                operation.as_str(),
                call.caller.principal.agent.as_str(),
            );
        }
    }
}

/// Runs a use case for so long at most.
async fn within<T>(
    limit: Duration,
    call: &mut Call,
    use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, use_case(call)).await.unwrap_or_else(|_| Err(late(call)))
}

/// The fault of a call that took too long. Its commit, if it had come to one, goes on.
fn late(call: &Call) -> Error {
    let fault = Fault::new(FaultKind::Timeout, "the call took longer than a call may");
    if call.committing { fault.with_unknown_outcome().into() } else { fault.into() }
}

fn status(error: Option<&Error>) -> &'static str {
    match error {
        None => "success",
        Some(Error::Refused(_)) => "refused",
        Some(Error::Broken(_)) => "failed",
    }
}

impl AppState {
    /// The caller of a request: whom the middleware authenticated, else the agent that it claims to be. Where
    /// callers authenticate, one that nobody has authenticated may do nothing.
    pub(crate) fn principal(
        &self,
        authenticated: Option<&Principal>,
        claimed: impl FnOnce() -> Result<AgentId, Refusal>,
    ) -> Result<Principal, Refusal> {
        match authenticated {
            Some(authenticated) => Ok(authenticated.clone()),
            None if self.authenticates() => Ok(Principal::limited(AgentId::unnamed(), Vec::new(), None)),
            None => claimed().map(Principal::unrestricted),
        }
    }

    /// The caller of a request that is no MCP message.
    pub(crate) fn http_principal(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Result<Principal, Refusal> {
        let claimed = || Ok(claimed_agent(headers)?.unwrap_or_else(AgentId::unnamed));
        self.principal(extensions.get(), claimed)
    }
}

/// The agent that the header `X-Agent-Id` names.
pub(crate) fn claimed_agent(headers: &HeaderMap) -> Result<Option<AgentId>, Refusal> {
    let Some(claimed) = headers.get("x-agent-id") else { return Ok(None) };
    let name = std::str::from_utf8(claimed.as_bytes());
    AgentId::parse(name.map_err(|_| Refusal::argument("X-Agent-Id", "it is not UTF-8"))?).map(Some)
}

fn user(call: &Call) -> Option<&str> {
    match &call.layer {
        Layer::Base => None,
        Layer::Overlay(user) => Some(user.as_str()),
    }
}
