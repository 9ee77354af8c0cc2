//! Where a bucket is and how it is spoken to: time limits, retries, how many requests at once.

use std::time::Duration;

use opendal::layers::{ConcurrentLimitLayer, RetryLayer, TimeoutLayer};
use opendal::{HttpTransporter, OperationContext, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use panaversity_model::Fault;

use crate::backend::Backend;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long one request may take: all of a put, one part of what is read. Enough for texts on any
/// line; what is large is put in parts, each with more time.
const REQUEST: Duration = Duration::from_secs(8);
/// How long one part of a large file may take, or a copy within the bucket.
const LARGE_REQUEST: Duration = Duration::from_mins(1);
/// How often a request that failed in passing is sent again.
pub(super) const RETRIES: usize = 3;
/// Pauses before that, growing from the first to the second.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Requests under way at once; others wait their turn.
const AT_ONCE: usize = 64;

/// A bucket behind S3's protocol, and the key to it.
#[derive(Clone)]
pub struct Bucket {
    /// Whose protocol it is: `S3` or `Supabase`, which restricts names.
    pub backend: Backend,
    /// The bucket's name.
    pub name: String,
    /// The region requests are signed for; `auto` where there are none.
    pub region: String,
    /// Where it is reached, with a path if it lies below one; `None`: AWS in that region.
    pub endpoint: Option<String>,
    /// The key's public half.
    pub access_key_id: String,
    /// Its secret half.
    pub secret_access_key: String,
}

/// The ways to reach a bucket.
#[derive(Clone)]
pub(crate) struct Operators {
    /// Sends again what failed in passing.
    pub(crate) retrying: Operator,
    /// Sends once.
    pub(crate) single_attempt: Operator,
    /// As patient, for what is read at its reader's pace: nobody waits for a turn behind it.
    pub(crate) streaming: Operator,
    /// For parts and copies, which take their time. Sends once.
    pub(crate) multipart: Operator,
}

impl Bucket {
    /// The bucket and where it is, without secrets.
    pub fn shown(&self) -> String {
        let at = self.endpoint.as_deref().unwrap_or("AWS");
        format!("the bucket {} at {at}", self.name)
    }

    /// The ways to reach it. All share their connections.
    pub(crate) fn operators(&self) -> Result<Operators, Fault> {
        let broken = |error: String| Fault::storage(format!("{} cannot be used: {error}", self.shown()));
        // Fails if one is installed already, which is as good.
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
