//! HTTP and MCP of `PanaversityFS` as a library.
//!
//! [`router`] returns the routes over an [`AppState`]; [`serve`] accepts connections for them;
//! [`serve_stdio`] speaks MCP over stdin and stdout. A request passes listener, middleware, route or MCP
//! dispatch, and service; one table maps its error to the answer.

mod app_state;
mod call;
mod error;
mod host;
mod http;
mod limits;
mod mcp;
mod memory_budget;
mod metrics;
mod signed_url;

pub use app_state::AppState;
pub use host::{PublicUrl, host_of};
pub use http::listener::serve;
pub use http::middleware::allowed_hosts::AllowedHosts;
pub use http::{Gate, name_of, router};
pub use limits::{ConnectionLimits, ServerLimits};
pub use mcp::serve_stdio;
pub use metrics::Metrics;
pub use signed_url::{PublishedKey, SignedUrlOptions, SignedUrls};
