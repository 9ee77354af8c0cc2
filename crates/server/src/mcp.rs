//! The MCP transport: `POST /mcp` and stdio. Both offer the same tools, to clients that begin with
//! `initialize` and to those whose requests are each self-contained (2026-07-28).
//!
//! The transport keeps no state between requests, so any server may answer any of them.

mod archives;
mod arguments;
mod assets;
mod audit;
mod base64_data;
mod books;
mod build;
mod changes;
#[cfg(feature = "conformance")]
mod conformance;
mod content;
mod cursor;
mod dispatch;
pub(crate) mod envelope;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod glob;
mod history;
pub(crate) mod message;
mod methods;
mod prompts;
mod read_part;
pub(crate) mod refusals;
mod resources;
mod schemas;
mod search;
mod stdio;
mod subscriptions;
#[cfg(test)]
pub(crate) mod tests;
mod tool_output;
pub(crate) mod tools;
pub(crate) mod validation;
mod write_metrics;

use std::error::Error;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::middleware;
use panaversity_model::permission::Principal;
use panaversity_model::suggestion::nearest_name;
use panaversity_model::{AgentId, ErrorCode, Refusal};
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams,
    CompleteResult, ContentBlock, CustomRequest, CustomResult, DiscoverResult, GetPromptRequestParams,
    GetPromptResponse, Implementation, InitializeRequestParams, InitializeResult, JsonObject,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, MetaObject,
    PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, ServerCapabilities, ServerConfig, SubscriptionFilter,
};
use rmcp::service::{RequestContext, ServerInitializeError, SubscriptionContext};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::AppState;
use crate::call::claimed_agent;
use crate::http::middleware::body_limit;
use crate::memory_budget::MemoryPermit;
use crate::trace::TraceId;
use dispatch::CallArguments;
pub use glob::Glob;
use message::Unreadable;
pub(crate) use message::answerable_id;
use stdio::Lines;
use tools::Spec;

/// Time that clients may cache a list: the tools change only with the server's version.
const LISTS_FRESH_MS: u64 = 300_000;

const INSTRUCTIONS: &str = "PanaversityFS stores books as files that agents write together. \
A book (book_id) holds pages below content/ and assets below static/; a path is relative to its book. \
Read before you write: read_content gives file_hash_sha256, and write_content needs it as expected_hash to replace a file; leave it out only to create one. \
On CONFLICT read again, merge and repeat. Repeating a call after a lost answer is safe. \
With user_id you read and write that user's private overlay above the book; without it, the book everybody reads. \
Errors carry a code and a hint that says what to do next. Go on with next_cursor until there is none.";

/// The routes `/mcp` and `/mcp/`. `stop` ends streams that are still open after the drain timeout.
pub(crate) fn router(app: AppState, stop: CancellationToken) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        // Host and Origin are checked for all routes by the middleware around this one.
        .disable_allowed_hosts()
        .with_max_request_body_bytes(app.limits.request_bytes)
        .with_cancellation_token(stop);
    let handler = McpHandler { app: app.clone() };
    #[cfg(feature = "conformance")]
    let handler = conformance::WithFixtures(handler);
    let service = StreamableHttpService::new(
        move || Ok(handler.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    Router::new()
        .route_service("/mcp", service.clone())
        .route_service("/mcp/", service)
        .layer(middleware::from_fn_with_state(app, body_limit::admit))
}

/// Serves one client on stdin and stdout until it closes its end, which it may do before its first
/// request.
pub async fn serve_stdio(app: AppState) -> Result<(), Box<dyn Error + Send + Sync>> {
    serve_lines(app, tokio::io::stdin(), tokio::io::stdout()).await
}

async fn serve_lines<R, W>(app: AppState, input: R, output: W) -> Result<(), Box<dyn Error + Send + Sync>>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let lines = Lines::new(input, output, app.limits.request_bytes);
    match (McpHandler { app }).serve(lines).await {
        Ok(session) => session.waiting().await.map(|_| ()).map_err(Into::into),
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Handler of MCP requests; cloned for each request.
#[derive(Clone)]
struct McpHandler {
    app: AppState,
}

impl ServerHandler for McpHandler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(capabilities()).with_server_info(implementation()).with_instructions(INSTRUCTIONS)
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, self.get_info())
            .with_ttl_ms(LISTS_FRESH_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let list = ListToolsResult::with_all_items(tools::offered(&self.principal_or_unnamed(&context)));
        if !is_modern(&context) {
            return Ok(list);
        }
        let scope = if self.app.authenticates() { CacheScope::Private } else { CacheScope::Public };
        let mut list = list.with_ttl_ms(LISTS_FRESH_MS).with_cache_scope(scope);
        list.meta = Some(server_meta());
        Ok(list)
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let after = request.and_then(|request| request.cursor).filter(|cursor| !cursor.is_empty());
        let (resources, next) =
            resources::list(&self.app_for(&context), self.principal_or_unnamed(&context), after.as_deref())
                .await?;
        let mut list = ListResourcesResult::with_all_items(resources);
        list.next_cursor = next;
        list.meta = is_modern(&context).then(server_meta);
        Ok(list)
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let list = ListResourceTemplatesResult::with_all_items(vec![resources::template()]);
        if !is_modern(&context) {
            return Ok(list);
        }
        let mut list = list.with_ttl_ms(LISTS_FRESH_MS).with_cache_scope(CacheScope::Public);
        list.meta = Some(server_meta());
        Ok(list)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let app = self.app_for(&context);
        let contents = resources::read(&app, self.principal_of(&context), &request.uri).await?;
        let mut result = ReadResourceResult::new(vec![contents]);
        result.meta = is_modern(&context).then(server_meta);
        Ok(result.into())
    }

    /// Sessions have no subscriptions: `resources/subscribe` is not offered to clients that initialize one.
    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let mut result = self.negotiate_initialize(&request)?;
        if let Some(resources) = &mut result.capabilities.resources {
            resources.subscribe = None;
        }
        Ok(result)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(subscriptions::accepted(requested))
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let context = subscription.request_context();
        subscriptions::listen(&self.app_for(context), self.principal_of(context), &subscription).await
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let book = request.context.as_ref().and_then(|given| given.get_argument("book_id"));
        let book = book.filter(|book| !book.is_empty());
        let (name, typed) = (&request.argument.name, &request.argument.value);
        // Resources and prompts have the same argument names.
        let values = resources::complete(
            &self.app_for(&context),
            self.principal_or_unnamed(&context),
            name,
            typed,
            book.map(String::as_str),
        )
        .await?;
        Ok(CompleteResult::new(values))
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let list = ListPromptsResult::with_all_items(prompts::all());
        if !is_modern(&context) {
            return Ok(list);
        }
        let mut list = list.with_ttl_ms(LISTS_FRESH_MS).with_cache_scope(CacheScope::Public);
        list.meta = Some(server_meta());
        Ok(list)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let mut prompt = prompts::get(&request.name, request.arguments.unwrap_or_default())?;
        prompt.meta = is_modern(&context).then(server_meta);
        Ok(prompt.into())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = find(&request.name)?;
        let arguments = request.arguments.unwrap_or_default();
        let given = match unreadable_in(&context) {
            Some(unreadable) => CallArguments::Unreadable(arguments, unreadable.clone()),
            None => CallArguments::Object(arguments),
        };
        Ok(self.answer(tool, given, &context).await.into())
    }

    /// Handles a request that rmcp could not parse as its method's. A `tools/call` whose arguments are
    /// no object gets an answer that the agent can act on.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if !methods::is_known(&request.method, is_modern(&context)) {
            return Err(methods::not_found(&request.method));
        }
        if request.method == "completion/complete"
            && let Some(asked) = request.params.as_ref().and_then(methods::completion_without_nulls)
        {
            let completed = serde_json::to_value(self.complete(asked, context).await?);
            return completed.map(CustomResult::new).map_err(|_| internal());
        }
        let params = request.params.as_ref();
        let name = params.and_then(|params| params.get("name")?.as_str());
        let Some(name) = name.filter(|_| request.method == "tools/call") else {
            return Err(methods::invalid_params(&request.method, params));
        };
        let tool = find(name)?;
        let is_left_out = params.is_some_and(|params| params["arguments"] == "");
        let given = if is_left_out { CallArguments::Object(JsonObject::new()) } else { CallArguments::Other };
        let mut result = self.answer(tool, given, &context).await;
        if !is_modern(&context) {
            result.result_type = None;
        }
        let result = serde_json::to_value(result);
        result.map(CustomResult::new).map_err(|_| internal())
    }
}

fn capabilities() -> ServerCapabilities {
    ServerCapabilities::builder()
        .enable_tools()
        .enable_resources()
        .enable_resources_subscribe()
        .enable_prompts()
        .enable_completions()
        .build()
}

impl McpHandler {
    /// The caller of a request that is not recorded: an invalid name counts as none.
    fn principal_or_unnamed(&self, context: &RequestContext<RoleServer>) -> Principal {
        self.principal_of(context).unwrap_or_else(|_| Principal::unrestricted(AgentId::unnamed()))
    }

    /// The caller of a request: whom the middleware authenticated, else the agent that it claims to be. Where
    /// callers authenticate, one that nobody has authenticated may do nothing.
    fn principal_of(&self, context: &RequestContext<RoleServer>) -> Result<Principal, Refusal> {
        let http = context.extensions.get::<Parts>();
        self.app.principal(http.and_then(|parts| parts.extensions.get()), || agent_of(context))
    }

    /// State for one request: links start at the request's host, and the memory permit is its own.
    fn app_for(&self, context: &RequestContext<RoleServer>) -> AppState {
        let http = context.extensions.get::<Parts>();
        let hold = http.and_then(|parts| parts.extensions.get::<MemoryPermit>());
        let hold = hold.cloned().unwrap_or_else(|| MemoryPermit::new(self.app.budget.clone(), None));
        let missing_scope = http.and_then(|parts| parts.extensions.get()).cloned();
        AppState {
            links: self.app.links.for_host(host_of(context)),
            hold,
            missing_scope: missing_scope.unwrap_or_default(),
            trace: http.and_then(|parts| TraceId::of(&parts.headers)),
            ..self.app.clone()
        }
    }

    async fn answer(
        &self,
        tool: &'static Spec,
        given: CallArguments,
        context: &RequestContext<RoleServer>,
    ) -> CallToolResult {
        let app = self.app_for(context);
        let (body, is_error) = dispatch::dispatch(&app, tool, self.principal_of(context), given).await;
        let mut result = CallToolResult::success(vec![ContentBlock::text(body.to_string())]);
        result.structured_content = Some(body);
        result.is_error = Some(is_error);
        result.with_meta(is_modern(context).then(server_meta))
    }
}

/// Host that the request is addressed to, if it came over HTTP.
fn host_of(context: &RequestContext<RoleServer>) -> Option<&str> {
    let http = context.extensions.get::<Parts>()?;
    let in_line = http.uri.authority().map(Authority::as_str);
    in_line.or_else(|| http.headers.get(header::HOST)?.to_str().ok())
}

/// The argument of a call that could not be read, over either transport.
fn unreadable_in(context: &RequestContext<RoleServer>) -> Option<&Unreadable> {
    let of_http = context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get());
    of_http.or_else(|| context.extensions.get())
}

/// The agent that a caller claims to be: the name in the header, else the client's own name. A client's name may be
/// anything, so one that the log can't store is ignored.
fn agent_of(context: &RequestContext<RoleServer>) -> Result<AgentId, Refusal> {
    let http = context.extensions.get::<Parts>();
    if let Some(parts) = http
        && let Some(claimed) = claimed_agent(&parts.headers)?
    {
        return Ok(claimed);
    }
    // Over HTTP only the request itself names the client: rmcp makes up a peer for it.
    let client = if http.is_some() { context.meta.client_info() } else { context.client_info() };
    let named = client.and_then(|client| AgentId::parse(&client.name).ok());
    Ok(named.unwrap_or_else(AgentId::unnamed))
}

fn internal() -> ErrorData {
    let data = json!({ "code": ErrorCode::Internal.as_str() });
    ErrorData::internal_error("The server failed to answer", Some(data))
}

fn find(name: &str) -> Result<&'static Spec, ErrorData> {
    tools::find(name).ok_or_else(|| {
        let near = nearest_name(name, tools::ALL.iter().map(|tool| tool.name));
        let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let message = format!("There is no such tool{meant}");
        let names: Vec<_> = tools::ALL.iter().map(|tool| tool.name).collect();
        let data = json!({ "code": ErrorCode::InvalidArgument.as_str(), "suggestion": near, "tools": names });
        ErrorData::invalid_params(message, Some(data))
    })
}

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

fn implementation() -> Implementation {
    Implementation::new("panaversity-fs", env!("CARGO_PKG_VERSION")).with_title("PanaversityFS")
}

fn server_meta() -> MetaObject {
    static META: LazyLock<MetaObject> = LazyLock::new(|| {
        let info = json!({ "name": "panaversity-fs", "title": "PanaversityFS", "version": env!("CARGO_PKG_VERSION") });
        let mut meta = MetaObject::new();
        meta.0.insert("io.modelcontextprotocol/serverInfo".to_owned(), info);
        meta
    });
    META.clone()
}
