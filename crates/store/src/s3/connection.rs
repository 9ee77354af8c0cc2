//! Connection to a bucket: address, credentials, time limits, retries and concurrency.

use std::time::Duration;

use opendal::layers::{ConcurrentLimitLayer, RetryLayer, TimeoutLayer};
use opendal::{HttpTransporter, OperationContext, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use panaversity_model::Fault;

use crate::backend::Backend;

/// Connect timeout.
const CONNECT: Duration = Duration::from_secs(3);
/// Timeout of one request: a whole put, or one part of a read. Enough for texts on any link; large files
/// are put in parts, each with more time.
const REQUEST: Duration = Duration::from_secs(8);
/// Timeout of one part of a large file, or of a copy within the bucket.
const LARGE_REQUEST: Duration = Duration::from_mins(1);
/// Number of retries after a transient error.
pub(super) const RETRIES: usize = 3;
/// Delays before the retries, growing from the first to the second value.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Maximum number of concurrent requests; others wait.
const AT_ONCE: usize = 64;

/// A bucket behind the S3 protocol, with its credentials.
#[derive(Clone)]
pub struct Bucket {
    /// Variant of the protocol: `S3` or `Supabase`, which restricts names.
    pub backend: Backend,
    /// Name of the bucket.
    pub name: String,
    /// Region that requests are signed for; `auto` where there are none.
    pub region: String,
    /// URL of the endpoint, with a path if it has one; `None`: AWS in that region.
    pub endpoint: Option<String>,
    /// Id of the access key.
    pub access_key_id: String,
    /// Secret of the access key.
    pub secret_access_key: String,
}

/// Clients of a bucket with different limits and retries.
#[derive(Clone)]
pub(crate) struct Operators {
    /// Retries transient errors.
    pub(crate) retrying: Operator,
    /// Sends each request once.
    pub(crate) single_attempt: Operator,
    /// Retries like `retrying`, but without the concurrency limit, for reads at the reader's pace.
    pub(crate) streaming: Operator,
    /// For parts and copies, with a longer timeout. Sends each request once.
    pub(crate) multipart: Operator,
}

impl Bucket {
    /// Display form: the bucket and its endpoint, without secrets.
    pub fn shown(&self) -> String {
        let at = self.endpoint.as_deref().unwrap_or("AWS");
        format!("the bucket {} at {at}", self.name)
    }

    /// Creates the clients. All share their connections.
    pub(crate) fn operators(&self) -> Result<Operators, Fault> {
        let broken = |error: String| Fault::storage(format!("{} cannot be used: {error}", self.shown()));
        // Fails if a provider is installed already, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client =
            reqwest::Client::builder().connect_timeout(CONNECT).redirect(reqwest::redirect::Policy::none());
        let client = client.build().map_err(|error| broken(error.to_string()))?;
        let transport = HttpTransporter::new(ReqwestTransport::new(client));
        let operator = Operator::new(self.service()).map_err(|error| broken(error.to_string()))?;
        let operator = operator.with_context(OperationContext::new().with_http_transport(transport));
        let within = |limit| TimeoutLayer::new().with_timeout(limit).with_io_timeout(limit);
        let single_attempt = operator.clone().layer(within(REQUEST));
        let retries = RetryLayer::new().with_max_times(RETRIES).with_jitter();
        let streaming =
            single_attempt.clone().layer(retries.with_min_delay(PAUSES.0).with_max_delay(PAUSES.1));
        Ok(Operators {
            retrying: streaming.clone().layer(ConcurrentLimitLayer::new(AT_ONCE)),
            single_attempt: single_attempt.layer(ConcurrentLimitLayer::new(AT_ONCE)),
            streaming,
            multipart: operator.layer(within(LARGE_REQUEST)),
        })
    }

    fn service(&self) -> services::S3 {
        let service = services::S3::default()
            .bucket(&self.name)
            .region(&self.region)
            .access_key_id(&self.access_key_id)
            .secret_access_key(&self.secret_access_key)
            .disable_config_load()
            .disable_ec2_metadata();
        match &self.endpoint {
            Some(endpoint) => service.endpoint(endpoint),
            None => service.endpoint(&format!("https://s3.{}.amazonaws.com", self.region)),
        }
    }
}
