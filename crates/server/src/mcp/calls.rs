//! The one way every tool call goes: unwrap the arguments, refuse unknown ones, run the act,
//! record it, log it, count it. Keeps R7 and, with `record`, R6: no answer leaves before its
//! entry is written. No content and no fault's detail gets into an answer or a call's log line.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use panaversity_model::audit::Outcome;
use panaversity_model::{AgentId, BookId, BookPath, Error, Fault, Layer, Refusal};
use panaversity_service::Call;
use panaversity_service::audit::outcome_of;
use rmcp::model::JsonObject;
use serde_json::Value;

use crate::app::App;
use crate::mcp::arguments::Arguments;
use crate::mcp::tools::{Group, Spec};
use crate::wire;

/// What a tool gives.
pub(super) struct Answer {
    /// The structured content.
    pub(super) body: Value,
    /// Bytes of content written or read, where known.
    pub(super) size: Option<u64>,
}

/// How a tool ends.
pub(super) type Ending = Result<Answer, Error>;

impl From<Value> for Answer {
    fn from(body: Value) -> Self {
        Self { body, size: None }
    }
}

/// Carries the call out; the structured content, and whether it is an error.
pub(super) async fn carry_out(
    app: &App,
    tool: &'static Spec,
    agent: Result<AgentId, Refusal>,
    arguments: Result<JsonObject, Refusal>,
) -> (Value, bool) {
    let mut call = app.service.begin(agent.clone().unwrap_or_else(|_| AgentId::unnamed()), tool.operation);
    let ending = attempt(app, &mut call, tool, agent, arguments).await;
    let ending = record(app, &call, ending).await;
    report(app, tool, &call, &ending);
    match ending {
        Ok(answer) => (answer.body, false),
        Err(error) => (wire::error_body(&error, &call), true),
    }
}

async fn attempt(
    app: &App,
    call: &mut Call,
    tool: &'static Spec,
    agent: Result<AgentId, Refusal>,
    arguments: Result<JsonObject, Refusal>,
) -> Ending {
    let known = tool.known();
    let arguments = Arguments::unwrapped(arguments?, &known);
    arguments.note_subject(call);
    // Only now, so that the entry of a caller without a proper name says what it was about.
    agent?;
    arguments.refuse_unknown(&known)?;
    // A bug must neither cost the entry nor end a stdio session.
    let ending = AssertUnwindSafe((tool.run)(app, call, arguments)).catch_unwind().await;
    ending.unwrap_or_else(|panic| Err(Fault::internal(words_of(panic.as_ref())).into()))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the tool panicked: {}", words.unwrap_or("without words"))
}

/// Writes the entry, unless the change's transaction did. A success that can't be recorded is
/// none; an error stays what it was.
async fn record(app: &App, call: &Call, ending: Ending) -> Ending {
    let outcome = match &ending {
        Ok(_) => Outcome::Success,
        Err(error) => entered(error),
    };
    let Err(fault) = app.service.record(call, outcome).await else { return ending };
    if ending.is_ok() {
        return Err(Fault { outcome_unknown: false, ..fault }.into());
    }
    tracing::warn!(
        target: "panaversity_fs.audit",
        request_id = %call.request,
        error = %fault,
        "a call that gave an error could not be recorded"
    );
    ending
}

/// A path that doesn't parse is in no column, so the message keeps it.
fn entered(error: &Error) -> Outcome {
    match (outcome_of(error), error) {
        (Outcome::Refused { code, message }, Error::Refused(Refusal::InvalidPath { path, .. })) => {
            Outcome::Refused { code, message: format!("{message}: {path}") }
        }
        (outcome, _) => outcome,
    }
}

/// One line and one count per call, one line per recorded change, one per fault.
fn report(app: &App, tool: &'static Spec, call: &Call, ending: &Ending) {
    let elapsed = app.service.elapsed(call);
    let (status, error, size) = match ending {
        Ok(answer) => ("success", None, answer.size),
        Err(error @ Error::Refused(_)) => ("refused", Some(error.code()), None),
        Err(error @ Error::Broken(_)) => ("failed", Some(error.code()), None),
    };
    app.metrics.tool_called(tool.name, status, elapsed);
    if let Err(Error::Broken(fault)) = ending {
        tracing::error!(
            target: "panaversity_fs.tools",
            request_id = %call.request,
            code = fault.kind.code(),
            outcome_unknown = fault.outcome_unknown,
            error = %fault,
            "{} failed",
            tool.name
        );
    }
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    // A target is fixed at compile time, so there is one line for each group and level.
    macro_rules! line {
        ($level:ident, $target:literal) => {
            tracing::$level!(
                target: $target,
                request_id = %call.request,
                agent_id = call.agent.as_str(),
                book_id = call.book.as_ref().map(BookId::as_str),
                path = call.path.as_ref().map(BookPath::as_str),
                user_id = user(call),
                size,
                duration_ms,
                status,
                error_code = error,
                "{}",
                tool.name
            )
        };
        ($target:literal) => {
            if status == "failed" { line!(warn, $target) } else { line!(info, $target) }
        };
    }
    match tool.group {
        Group::Content => line!("panaversity_fs.tools.content"),
        Group::Books => line!("panaversity_fs.tools.books"),
        Group::Build => line!("panaversity_fs.tools.build"),
        Group::Audit => line!("panaversity_fs.tools.audit"),
    }
    if ending.is_ok() && call.recorded {
        tracing::info!(
            target: "panaversity_fs.audit",
            request_id = %call.request,
            book_id = call.book.as_ref().map(BookId::as_str),
            user_id = user(call),
            "logged operation={} agent_id={} path={}",
            call.operation.as_str(),
            call.agent.as_str(),
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
