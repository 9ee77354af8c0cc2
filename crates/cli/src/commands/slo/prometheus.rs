//! Client of Prometheus' HTTP API (`/api/v1/query`): instant queries that give one number.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use crate::failure::Failure;

/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A Prometheus server.
pub(super) struct Prometheus {
    http: reqwest::Client,
    endpoint: Url,
}

impl Prometheus {
    /// The server at `url`, with or without a path before `/api`.
    pub(super) fn at(url: &str) -> Result<Self, Failure> {
        let endpoint = Url::parse(&format!("{}/api/v1/query", url.trim_end_matches('/')));
        let endpoint = endpoint.ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let endpoint = endpoint.ok_or_else(|| {
            Failure::Usage("--prometheus must be a URL, such as http://127.0.0.1:9090".to_owned())
        })?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).build();
        let http = http.map_err(|error| Failure::Failed(format!("the HTTP client: {error}")))?;
        Ok(Self { http, endpoint })
    }

    /// Fails if it scrapes no server of this product.
    pub(super) async fn require_servers(&self) -> Result<(), Failure> {
        match self.value("count(panaversityfs_build_info)").await? {
            Some(_) => Ok(()),
            None => Err(Failure::Failed(
                "Prometheus has no metrics of this product: check its scrape configuration, and that the servers' \
                 /metrics can be reached"
                    .to_owned(),
            )),
        }
    }

    /// Value of a query that gives one number; `None` if it gives nothing.
    pub(super) async fn value(&self, query: &str) -> Result<Option<f64>, Failure> {
        let failed = |why: String| {
            let shown = panaversity_model::masked_url::mask(self.endpoint.as_str());
            Failure::Failed(format!("Prometheus at {shown}: {why}"))
        };
        let mut url = self.endpoint.clone();
        url.query_pairs_mut().append_pair("query", query);
        let answer = self.http.get(url).send().await;
        let answer = answer.map_err(|error| failed(format!("no answer: {}", error.without_url())))?;
        let status = answer.status();
        let document: Value = answer.json().await.map_err(|_| failed(format!("{status}, and no JSON")))?;
        if document["status"] != "success" {
            let why = document["error"].as_str().unwrap_or("it refuses the query");
            return Err(failed(format!("{status}: {why}")));
        }
        let sample = &document["data"]["result"][0]["value"][1];
        Ok(sample.as_str().and_then(|value| value.parse().ok()))
    }
}
