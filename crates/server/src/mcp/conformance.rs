//! Test fixtures that the MCP conformance suite requires beyond the server's own tools: they answer as
//! `fixtures.json` says, in front of the real handler and behind the same transport. Only in builds with
//! the feature `conformance`; they store nothing and touch no book.
//!
//! A tool or prompt with `rounds` asks its client for input before it answers (2026-07-28):
//!
//! 1. `requestState` says which round the client answers; an unknown state is refused.
//! 2. A round asks only for what the client has declared; if no question remains, the client is told
//!    which capabilities it lacks.
//! 3. When every question of the round has an object for an answer, the next round is asked, and after
//!    the last the tool answers. Otherwise the round is asked again.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult,
    CustomRequest, CustomResult, DiscoverResult, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
    InitializeRequestParams, InitializeResult, InputRequiredResult, InputResponses, JsonObject,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, Prompt, PromptArgument, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, Resource, ResourceTemplate, ServerConfig, SubscriptionFilter,
    Tool,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::McpHandler;

const ABOUT: &str = "A stand-in for the conformance suite";

/// An error in the file leaves it empty, and then every scenario fails.
static FIXTURES: LazyLock<Fixtures> =
    LazyLock::new(|| serde_json::from_str(include_str!("conformance/fixtures.json")).unwrap_or_default());

#[derive(Default, Deserialize)]
struct Fixtures {
    tools: BTreeMap<String, Fixture>,
    prompts: BTreeMap<String, Fixture>,
    /// By URI; one that contains `{id}` is a template.
    resources: BTreeMap<String, Fixture>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fixture {
    input_schema: Option<JsonObject>,
    #[serde(default)]
    arguments: Vec<String>,
    /// Progress reports for a client that requested them, in percent.
    #[serde(default)]
    progress: Vec<f64>,
    #[serde(default)]
    rounds: Vec<Round>,
    /// The result; `{name}` is replaced by the argument of that name.
    answer: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Round {
    input_requests: JsonObject,
    request_state: Option<String>,
}

/// The real handler with the fixtures in front of it.
#[derive(Clone)]
pub(super) struct WithFixtures(pub(super) McpHandler);

impl ServerHandler for WithFixtures {
    fn get_info(&self) -> ServerConfig {
        self.0.get_info()
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        FIXTURES.tools.get(name).map(|fixture| fixture.tool(name))
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        self.0.initialize(request, context).await
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        self.0.accepted_subscription_filter(requested)
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        self.0.listen(subscription).await
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        self.0.discover(context).await
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut list = self.0.list_tools(request, context).await?;
        list.tools.extend(FIXTURES.tools.iter().map(|(name, fixture)| fixture.tool(name)));
        Ok(list)
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut list = self.0.list_resources(request, context).await?;
        let fixed = FIXTURES.resources.keys().filter(|uri| !uri.contains('{'));
        list.resources.extend(fixed.map(|uri| Resource::new(uri, uri).with_description(ABOUT)));
        Ok(list)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let mut list = self.0.list_resource_templates(request, context).await?;
        let templates = FIXTURES.resources.keys().filter(|uri| uri.contains('{'));
        list.resource_templates.extend(templates.map(|uri| ResourceTemplate::new(uri, uri)));
        Ok(list)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.as_str();
        let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
        let known = if id.is_some() { "test://template/{id}/data" } else { uri };
        let Some(fixture) = FIXTURES.resources.get(known) else {
            return self.0.read_resource(request, context).await;
        };
        let id = id.map(|id| ("id".to_owned(), id.into()));
        let answer: ReadResourceResult = fixture.answer(&id.into_iter().collect())?;
        // Built anew, because the result from the file has no caching hints.
        Ok(ReadResourceResult::new(answer.contents).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        self.0.complete(request, context).await
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let mut list = self.0.list_prompts(request, context).await?;
        list.prompts.extend(FIXTURES.prompts.iter().map(|(name, fixture)| {
            let arguments =
                fixture.arguments.iter().map(|name| PromptArgument::new(name).with_required(true));
            Prompt::new(name, Some(ABOUT), Some(arguments.collect()))
        }));
        Ok(list)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let Some(fixture) = FIXTURES.prompts.get(&request.name) else {
            return self.0.get_prompt(request, context).await;
        };
        let (responses, state) = (request.input_responses.as_ref(), request.request_state.as_deref());
        if let Some(question) = fixture.question(responses, state, &context)? {
            return Ok(question.into());
        }
        fixture.answer::<GetPromptResult>(&request.arguments.unwrap_or_default()).map(Into::into)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(fixture) = FIXTURES.tools.get(request.name.as_ref()) else {
            return self.0.call_tool(request, context).await;
        };
        let (responses, state) = (request.input_responses.as_ref(), request.request_state.as_deref());
        if let Some(question) = fixture.question(responses, state, &context)? {
            return Ok(question.into());
        }
        if let Some(token) = context.meta.get_progress_token() {
            for done in &fixture.progress {
                let report = ProgressNotificationParam::new(token.clone(), *done).with_total(100.0);
                // A client that has disconnected needs no report.
                let _ = context.peer.notify_progress(report).await;
            }
        }
        fixture.answer::<CallToolResult>(&JsonObject::new()).map(Into::into)
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        self.0.on_custom_request(request, context).await
    }
}

impl Fixture {
    fn tool(&self, name: &str) -> Tool {
        let none = || JsonObject::from_iter([("type".to_owned(), "object".into())]);
        Tool::new(name.to_owned(), ABOUT, self.input_schema.clone().unwrap_or_else(none))
    }

    fn answer<T: DeserializeOwned>(&self, arguments: &JsonObject) -> Result<T, ErrorData> {
        // For clients before 2026-07-28 rmcp removes it.
        let mut answer = self.answer.clone();
        answer["resultType"] = "complete".into();
        let mut text = answer.to_string();
        for (name, value) in arguments {
            let quoted = Value::from(value.as_str().unwrap_or_default()).to_string();
            text = text.replace(&format!("{{{name}}}"), &quoted[1..quoted.len() - 1]);
        }
        serde_json::from_str(&text).map_err(|why| ErrorData::internal_error(why.to_string(), None))
    }

    /// The questions that the client must answer before the result.
    fn question(
        &self,
        responses: Option<&InputResponses>,
        state: Option<&str>,
        context: &RequestContext<RoleServer>,
    ) -> Result<Option<InputRequiredResult>, ErrorData> {
        let is_of = |round: &Round| round.request_state.as_deref() == state;
        let now =
            match state {
                None => 0,
                Some(_) => self.rounds.iter().position(is_of).ok_or_else(|| {
                    ErrorData::invalid_params("requestState is none that was given out", None)
                })?,
            };
        let Some(round) = self.rounds.get(now) else { return Ok(None) };
        let declared = json!(context.client_capabilities().unwrap_or_default());
        let has = |key: &String| responses.is_some_and(|all| all.get(key).is_some_and(Value::is_object));
        let answered = is_of(round) && round.askable(&declared)?.keys().all(has);
        let next = if answered { self.rounds.get(now + 1) } else { Some(round) };
        next.map(|round| round.ask(&declared)).transpose()
    }
}

impl Round {
    /// The questions that this client can answer; an error if there are none.
    fn askable(&self, declared: &Value) -> Result<JsonObject, ErrorData> {
        let (mut can, mut lacks) = (JsonObject::new(), JsonObject::new());
        for (key, request) in &self.input_requests {
            // `sampling/createMessage` needs the capability `sampling`, and so on.
            let method = request["method"].as_str().unwrap_or_default();
            let capability = method.split('/').next().unwrap_or_default();
            if declared.get(capability).is_some_and(Value::is_object) {
                can.insert(key.clone(), request.clone());
            } else {
                lacks.insert(capability.to_owned(), json!({}));
            }
        }
        if can.is_empty() {
            let lacks = serde_json::from_value(lacks.into()).unwrap_or_default();
            return Err(ErrorData::missing_required_client_capability(lacks));
        }
        Ok(can)
    }

    fn ask(&self, declared: &Value) -> Result<InputRequiredResult, ErrorData> {
        let mut ask = json!({ "resultType": "input_required", "inputRequests": self.askable(declared)? });
        if let Some(state) = &self.request_state {
            ask["requestState"] = state.as_str().into();
        }
        serde_json::from_value(ask).map_err(|why| ErrorData::internal_error(why.to_string(), None))
    }
}
