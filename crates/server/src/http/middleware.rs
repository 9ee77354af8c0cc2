//! Middleware of the routes, one file for each thing that is checked or observed.

pub(crate) mod allowed_hosts;
pub(crate) mod mcp_body;
pub(crate) mod observe;
