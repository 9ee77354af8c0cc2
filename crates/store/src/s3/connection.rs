//! Connection to a bucket: address, credentials, time limits, retries and concurrency.

use opendal::layers::{ConcurrentLimitLayer, RetryLayer, TimeoutLayer};
use opendal::{HttpTransporter, OperationContext, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use panaversity_model::Fault;
use secrecy::{ExposeSecret, SecretString};

use crate::backend::Backend;
use crate::limits::BucketLimits;

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
    pub secret_access_key: SecretString,
    /// Its limits.
    pub limits: BucketLimits,
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
        let client = reqwest::Client::builder()
            .connect_timeout(self.limits.connect_timeout)
            .redirect(reqwest::redirect::Policy::none());
        let client = client.build().map_err(|error| broken(error.to_string()))?;
        let transport = HttpTransporter::new(ReqwestTransport::new(client));
        let operator = Operator::new(self.service()).map_err(|error| broken(error.to_string()))?;
        let operator = operator.with_context(OperationContext::new().with_http_transport(transport));
        let within = |limit| TimeoutLayer::new().with_timeout(limit).with_io_timeout(limit);
        let single_attempt = operator.clone().layer(within(self.limits.request_timeout));
        let retries = RetryLayer::new().with_max_times(self.limits.retries).with_jitter();
        let (shortest, longest) = self.limits.retry_delays;
        let streaming =
            single_attempt.clone().layer(retries.with_min_delay(shortest).with_max_delay(longest));
        let at_once = || ConcurrentLimitLayer::new(self.limits.requests_at_once);
        Ok(Operators {
            retrying: streaming.clone().layer(at_once()),
            single_attempt: single_attempt.layer(at_once()),
            streaming,
            multipart: operator.layer(within(self.limits.large_request_timeout)),
        })
    }

    fn service(&self) -> services::S3 {
        let service = services::S3::default()
            .bucket(&self.name)
            .region(&self.region)
            .access_key_id(&self.access_key_id)
            .secret_access_key(self.secret_access_key.expose_secret())
            .disable_config_load()
            .disable_ec2_metadata();
        match &self.endpoint {
            Some(endpoint) => service.endpoint(endpoint),
            None => service.endpoint(&format!("https://s3.{}.amazonaws.com", self.region)),
        }
    }
}
