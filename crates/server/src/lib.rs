//! HTTP and MCP of `PanaversityFS` as a library.
//!
//! [`router`] returns the routes over an [`AppState`]; [`serve`] accepts connections for them;
//! [`serve_stdio`] speaks MCP over stdin and stdout. A request passes listener, middleware, route or MCP
//! dispatch, and service; one table maps its error to the answer.
//!
//! ```no_run
//! # async fn example(state: panaversity_server::AppState) -> std::io::Result<()> {
//! use panaversity_server::{AllowedHosts, ConnectionLimits, router, serve};
//! use tokio_util::sync::CancellationToken;
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//! state.listens_on(listener.local_addr()?);
//! // The first ends the accepting of connections, the second what still runs.
//! let (closing, cancelling) = (CancellationToken::new(), CancellationToken::new());
//! let routes = router(state, AllowedHosts::new(None, &[], true), cancelling.clone());
//! serve(listener, routes, ConnectionLimits::for_descriptors(1024), closing.clone()).await
//! # }
//! ```
//!
//! # Where to go next
//! - [`AppState::new`] takes the service, [`Metrics`] and [`SignedUrls`], which sign the links of answers.
//! - [`Authenticator`] checks the tokens of callers; without one everybody may do everything.
//! - [`WebhookDispatcher`] sends the changes of books to webhooks.
//! - [`Gate`] answers while the engines are not open yet; [`AllowedHosts`] refuses foreign hosts.
//! - The tools are in `mcp`, the other routes in `http`, the table of errors in `error`.

mod app_state;
pub mod auth;
mod call;
mod clock;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod http;
mod limits;
mod link_keys;
mod mcp;
mod memory_budget;
mod metrics;
mod signed_url;
mod trace;
mod web;
mod webhooks;

pub use app_state::AppState;
pub use auth::Authenticator;
pub use host::{Origin, PublicUrl, host_of};
pub use http::listener::serve;
pub use http::middleware::allowed_hosts::AllowedHosts;
pub use http::middleware::client_address::TrustedProxies;
pub use http::{Gate, name_of, router};
pub use limits::{ConnectionLimits, KeyTimes, RateLimit, ServerLimits, WebhookLimits};
pub use link_keys::LinkKeyRing;
pub use mcp::validation::validation_body;
pub use mcp::{Glob, serve_stdio};
pub use metrics::Metrics;
pub use signed_url::{PublishedKey, SignedUrlOptions, SignedUrls};
pub use webhooks::WebhookDispatcher;
