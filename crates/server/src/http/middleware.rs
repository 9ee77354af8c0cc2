//! Middleware of the routes, one file for each thing that is checked or observed.

pub(crate) mod allowed_hosts;
pub(crate) mod auth;
pub(crate) mod body_limit;
pub(crate) mod caller_share;
pub(crate) mod client_address;
pub(crate) mod held_answer;
pub(crate) mod observe;
pub(crate) mod rate_limit;
