//! Dispatch of tool calls and of `resources/read`: unwraps the arguments, refuses unknown ones, and runs
//! the use case as a call of its agent (see [`call`](crate::call)).

use panaversity_model::audit::Operation;
use panaversity_model::file::FileRecord;
use panaversity_model::permission::Principal;
use panaversity_model::{AgentId, BookId, BookPath, Error, Layer, Refusal};
use panaversity_service::Call;
use panaversity_service::read::{FileRead, ReadFile};
use rmcp::model::JsonObject;
use serde_json::Value;

use crate::AppState;
use crate::call::CallKind;
use crate::error;
use crate::mcp::arguments::{Arguments, Signature};
use crate::mcp::assets::COST_OF_AN_ANSWER;
use crate::mcp::message::Unreadable;
use crate::mcp::tool_output::ToolResult;
use crate::mcp::tools::Spec;

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
    principal: Result<Principal, Refusal>,
    given: CallArguments,
) -> (Value, bool) {
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
    let caller = principal.clone().unwrap_or_else(|_| unnamed());
    let use_case = async |call: &mut Call| {
        arguments.note_subject(call);
        readable?;
        // Checked after `note_subject`, so that the entry of a caller without a valid name has its subject.
        principal?;
        run_tool(app, call, tool, &signature, arguments).await
    };
    let ended = app.run(CallKind::Tool(tool), caller, tool.operation, use_case, |output| output.size).await;
    match ended.result {
        Ok(output) => (output.body, false),
        Err(error) => (error::tool_error_body(&error, &ended.call, remedy), true),
    }
}

async fn run_tool(
    app: &AppState,
    call: &mut Call,
    tool: &'static Spec,
    signature: &Signature<'_>,
    mut arguments: Arguments,
) -> ToolResult {
    arguments.refuse_unknown(signature)?;
    if !signature.takes("cursor") {
        return (tool.run)(app, call, arguments).await;
    }
    let continued = arguments.continued(tool.name)?;
    let mut output = (tool.run)(app, call, arguments).await?;
    continued.seal(&mut output.body);
    Ok(output)
}

/// Reads a file of the base as a resource. An error is also returned as its JSON fields.
pub(super) async fn read_resource(
    app: &AppState,
    principal: Result<Principal, Refusal>,
    place: Result<(BookId, BookPath), Refusal>,
) -> Result<Resource, (Error, Value)> {
    let caller = principal.clone().unwrap_or_else(|_| unnamed());
    let use_case = async |call: &mut Call| {
        let (book, path) = place?;
        (call.book, call.path) = (Some(book.clone()), Some(path.clone()));
        principal?;
        let access = call.may_read(book, Layer::Base)?;
        let read = ReadFile::whole(access, path);
        let FileRead { record, content, .. } = call.read_file(&read).await?;
        if let Some(text) = content.into_text() {
            return Ok(Resource { record, content: ResourceContent::Text(text) });
        }
        call.check_direct("the file", record.size)?;
        let found = call.find_asset(&read.access, &read.path).await?;
        app.hold.take(found.asset.record.size * COST_OF_AN_ANSWER).await;
        let (asset, bytes) = call.asset_bytes(&read.access, found).await?;
        Ok(Resource { record: asset.record, content: ResourceContent::Blob(bytes) })
    };
    let size = |file: &Resource| Some(file.record.size);
    let ended = app.run(CallKind::Resource, caller, Operation::Read, use_case, size).await;
    ended.result.map_err(|error| {
        let mut body = error::error_body(&error, &ended.call);
        (error, body["error"].take())
    })
}

/// Principal of a caller whose name is not valid; its call is refused.
pub(super) fn unnamed() -> Principal {
    Principal::unrestricted(AgentId::unnamed())
}
