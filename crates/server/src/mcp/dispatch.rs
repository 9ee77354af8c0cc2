//! Dispatch of all calls, of tools and for resources: unwraps the arguments, refuses unknown ones, runs
//! the use case, then records, logs and counts the call. Keeps R7 and, with `record`, R6: no answer is
//! sent before its entry is written. A call's log line contains no content, and neither it nor an answer
//! the detail of a fault.

use std::any::Any;
use std::borrow::Borrow;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use panaversity_model::audit::{Operation, Outcome};
use panaversity_model::file::FileRecord;
use panaversity_model::{AgentId, BookId, BookPath, Error, Fault, Layer, Refusal, View};
use panaversity_service::Call;
use panaversity_service::audit::outcome_of;
use panaversity_service::read::{FileRead, ReadFile};
use rmcp::model::JsonObject;
use serde_json::Value;

use crate::AppState;
use crate::error;
use crate::mcp::arguments::{Arguments, Signature};
use crate::mcp::assets::COST_OF_AN_ANSWER;
use crate::mcp::message::Unreadable;
use crate::mcp::tools::{Group, Spec};

/// Longest time that the answer of a failed call waits for its audit entry.
const AFTER_A_FAULT: Duration = Duration::from_secs(3);

/// Result of a successful tool call.
pub(super) struct ToolOutput {
    /// The structured content.
    pub(super) body: Value,
    /// Bytes of content written or read, if known.
    pub(super) size: Option<u64>,
}

/// A file as a resource.
pub(super) struct Resource {
    pub(super) record: FileRecord,
    pub(super) content: ResourceContent,
}

/// The bytes of a resource.
pub(super) enum ResourceContent {
    Text(String),
    Blob(Vec<u8>),
}

/// Result of a tool call.
pub(super) type ToolResult = Result<ToolOutput, Error>;

impl From<Value> for ToolOutput {
    fn from(body: Value) -> Self {
        Self { body, size: None }
    }
}

/// Arguments of a call as received.
pub(super) enum CallArguments {
    Object(JsonObject),
    /// One of them could not be decoded.
    Unreadable(JsonObject, Unreadable),
    /// Not an object.
    Other,
}

/// Runs a tool call; returns the structured content, and whether it is an error.
pub(super) async fn dispatch(
    app: &AppState,
    tool: &'static Spec,
    agent: Result<AgentId, Refusal>,
    given: CallArguments,
) -> (Value, bool) {
    let mut call = app.service.begin(agent.clone().unwrap_or_else(|_| AgentId::unnamed()), tool.operation);
    let signature = tool.signature();
    let (arguments, readable) = match given {
        CallArguments::Object(given) => (given, Ok(())),
        CallArguments::Unreadable(given, unreadable) => (given, Err(unreadable)),
        CallArguments::Other => (JsonObject::new(), Err(Unreadable::no_object())),
    };
    let mut arguments = Arguments::unwrapped(arguments, &signature);
    let names = arguments.names();
    let remedy = |name: &str| signature.remedy(name, names.iter().any(|given| given == name));
    if let Err(unreadable) = &readable {
        arguments.forget(&unreadable.argument);
    }
    let readable = readable.map_err(|unreadable| unreadable.refusal());
    let ending = attempt(app, &mut call, tool, &signature, agent, arguments, readable).await;
    let ending = record(app, &call, ending).await;
    app.metrics.tool_called(tool.name, status(&ending), app.service.elapsed(&call));
    report(app, tool.name, &tool.group, &call, ending.as_ref().map(|answer| answer.size));
    match ending {
        Ok(answer) => (answer.body, false),
        Err(error) => (error::tool_error_body(&error, &call, remedy), true),
    }
}

/// Reads a file of the base as a resource: recorded and logged as a call, though no tool's. An error is
/// also returned as its JSON fields.
pub(super) async fn read_resource(
    app: &AppState,
    agent: Result<AgentId, Refusal>,
    place: Result<(BookId, BookPath), Refusal>,
) -> Result<Resource, (Error, Value)> {
    let mut call = app.service.begin(agent.clone().unwrap_or_else(|_| AgentId::unnamed()), Operation::Read);
    let reading = async {
        let (book, path) = place?;
        (call.book, call.path) = (Some(book.clone()), Some(path.clone()));
        agent?;
        let read = ReadFile { book, path, view: View::base(), version: None, unless: None };
        let FileRead { record, content } = app.service.read_file(&read).await?;
        if let Some(text) = content.into_text() {
            return Ok(Resource { record, content: ResourceContent::Text(text) });
        }
        app.service.check_direct("the file", record.size)?;
        app.hold.take(record.size * COST_OF_AN_ANSWER).await;
        let (asset, bytes) = app.service.get_asset(&read.book, &read.path, true).await?;
        let content = ResourceContent::Blob(bytes.unwrap_or_default());
        Ok(Resource { record: asset.record, content })
    };
    let ending = guarded(reading).await;
    let ending = record(app, &call, ending).await;
    let size = ending.as_ref().map(|file| Some(file.record.size));
    report(app, "resources/read", &Group::Content, &call, size);
    ending.map_err(|error| {
        let mut body = error::error_body(&error, &call);
        (error, body["error"].take())
    })
}

async fn attempt(
    app: &AppState,
    call: &mut Call,
    tool: &'static Spec,
    signature: &Signature<'_>,
    agent: Result<AgentId, Refusal>,
    mut arguments: Arguments,
    readable: Result<(), Refusal>,
) -> ToolResult {
    arguments.note_subject(call);
    readable?;
    // Checked after `note_subject`, so that the entry of a caller without a valid name has its subject.
    agent?;
    arguments.refuse_unknown(signature)?;
    if !signature.takes("cursor") {
        return guarded((tool.run)(app, call, arguments)).await;
    }
    let continued = arguments.continued(tool.name)?;
    let mut answer = guarded((tool.run)(app, call, arguments)).await?;
    continued.seal(&mut answer.body);
    Ok(answer)
}

/// Converts a panic to a fault: a bug must neither lose the entry nor end a stdio session.
async fn guarded<T>(act: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let ending = AssertUnwindSafe(act).catch_unwind().await;
    ending.unwrap_or_else(|panic| Err(Fault::internal(words_of(panic.as_ref())).into()))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the tool panicked: {}", words.unwrap_or("without words"))
}

/// Writes the audit entry, unless the change's transaction did. A success that can't be recorded becomes
/// a fault; an error stays the same. After a fault the database may be unavailable too, so the answer
/// waits only a short time; the entry is written as soon as possible.
async fn record<T>(app: &AppState, call: &Call, ending: Result<T, Error>) -> Result<T, Error> {
    let outcome = match &ending {
        Ok(_) => Outcome::Success,
        Err(error) => entered(error),
    };
    let recorded = app.service.record(call, outcome);
    let recorded = match &ending {
        Err(Error::Broken(_)) => tokio::time::timeout(AFTER_A_FAULT, recorded).await,
        _ => Ok(recorded.await),
    };
    let Err(fault) = recorded.unwrap_or_else(|_| Err(Fault::database("no answer yet"))) else {
        return ending;
    };
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

/// The outcome for the audit entry. An invalid path is in no column, so the message includes it.
fn entered(error: &Error) -> Outcome {
    match (outcome_of(error), error) {
        (Outcome::Refused { code, message }, Error::Refused(Refusal::InvalidPath { path, .. })) => {
            Outcome::Refused { code, message: format!("{message}: {path}") }
        }
        (outcome, _) => outcome,
    }
}

fn status<T>(ending: &Result<T, impl Borrow<Error>>) -> &'static str {
    match ending {
        Ok(_) => "success",
        Err(error) => match error.borrow() {
            Error::Refused(_) => "refused",
            Error::Broken(_) => "failed",
        },
    }
}

/// Logs one line per call, one per recorded change, one per fault. `ending` has the size, if known.
fn report(
    app: &AppState,
    name: &'static str,
    group: &Group,
    call: &Call,
    ending: Result<Option<u64>, &Error>,
) {
    let elapsed = app.service.elapsed(call);
    let (status, error, size) = (status(&ending), ending.err().map(Error::code), ending.ok().flatten());
    if let Err(Error::Broken(fault)) = ending {
        tracing::error!(
            target: "panaversity_fs.tools",
            request_id = %call.request,
            code = fault.kind.code(),
            outcome_unknown = fault.outcome_unknown,
            path = fault.path.as_ref().map(BookPath::as_str),
            error = %fault,
            "{} failed",
            name
        );
    }
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    // A target is a compile-time constant, so there is one line for each group and level.
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
                name
            )
        };
        ($target:literal) => {
            if status == "failed" { line!(warn, $target) } else { line!(info, $target) }
        };
    }
    match group {
        Group::Content => line!("panaversity_fs.tools.content"),
        Group::Assets => line!("panaversity_fs.tools.assets"),
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
