//! Health of a server, from its own endpoints: what load balancers ask is asked by people the same way.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use crate::http_clients::{HttpClients, root_cause};

/// Longest time for an answer: a server waits for its engines up to 3 seconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Health endpoint of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthCheck {
    /// All known state: `/health`.
    Full,
    /// The process answers: `/health/live`.
    Live,
    /// Traffic may be sent to it: `/health/ready`.
    Ready,
}

/// Answer of a health endpoint.
#[derive(Debug, Clone)]
pub struct HealthReport {
    /// True if its HTTP status was 200.
    pub is_up: bool,
    /// Its JSON document.
    pub document: Value,
}

impl HealthCheck {
    fn path(self) -> &'static str {
        match self {
            Self::Full => "health",
            Self::Live => "health/live",
            Self::Ready => "health/ready",
        }
    }

    /// Asks the server at `url`, once.
    ///
    /// # Errors
    /// A text for people: the URL is none, nothing answers there, or something that is no such server.
    pub async fn ask(self, url: &str) -> Result<HealthReport, String> {
        let base = format!("{}/", url.trim_end_matches('/').trim_end_matches("/mcp"));
        let url = Url::parse(&base).and_then(|base| base.join(self.path()));
        let url = url.map_err(|_| "the URL is none, such as http://127.0.0.1:8000".to_owned())?;
        let http = HttpClients::default().to(&url)?;
        let answer = http.get(url.clone()).timeout(TIMEOUT).send().await;
        let answer = answer.map_err(|error| format!("{url} does not answer: {}", root_cause(&error)))?;
        let (status, document) = (answer.status(), answer.json().await);
        match document {
            Ok(document) if matches!(status.as_u16(), 200 | 503) => {
                Ok(HealthReport { is_up: status.as_u16() == 200, document })
            }
            _ => Err(format!("{url} answers {status}: there is no such server, or another URL is needed")),
        }
    }
}
