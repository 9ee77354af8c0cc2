//! State of the transports: the service, and what serves all requests beside it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use panaversity_model::ports::{SharedRates, Webhooks};
use panaversity_service::Service;
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::http::StreamSlots;
use crate::http::middleware::auth::MissingScope;
use crate::http::middleware::client_address::TrustedProxies;
use crate::limits::{RateLimit, ServerLimits};
use crate::memory_budget::{MemoryBudget, MemoryPermit};
use crate::metrics::Metrics;
use crate::signed_url::SignedUrls;
use crate::trace::TraceId;

/// State of a server. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The use cases.
    pub(crate) service: Service,
    /// The metrics.
    pub(crate) metrics: Arc<Metrics>,
    /// Signer of the links to this server.
    pub(crate) links: SignedUrls,
    /// The limits.
    pub(crate) limits: ServerLimits,
    /// Memory budget of all calls.
    pub(crate) budget: MemoryBudget,
    /// Memory budget of all bodies that have arrived and are not answered yet.
    pub(crate) bodies: MemoryBudget,
    /// Authenticator of requests; `None`, as over stdio: everybody may do everything.
    pub(crate) auth: Option<Authenticator>,
    /// Proxies whose word on the client's address is believed.
    pub(crate) proxies: TrustedProxies,
    /// Rates that all servers count together, if they do.
    pub(crate) shared_rates: Option<Arc<dyn SharedRates>>,
    /// Places for streams of changes.
    pub(crate) streams: StreamSlots,
    /// The webhooks, for the page of the state; `None`, as over stdio: nothing is sent.
    pub(crate) webhooks: Option<Arc<dyn Webhooks>>,
    /// Cancelled when the server is about to stop.
    pub(crate) draining: CancellationToken,
    /// Memory permit of the call that is answered.
    pub(crate) hold: MemoryPermit,
    /// Scope that the call that is answered lacks.
    pub(crate) missing_scope: MissingScope,
    /// Trace of the request that is answered.
    pub(crate) trace: Option<TraceId>,
    /// True if the pages for people are served.
    pub(crate) web: bool,
}

impl AppState {
    /// The state of a server over this service.
    pub fn new(service: Service, metrics: Arc<Metrics>, links: SignedUrls, limits: ServerLimits) -> Self {
        let budget = MemoryBudget::of(limits.memory_bytes);
        let (hold, missing_scope) = (MemoryPermit::new(budget.clone(), None), MissingScope::default());
        Self {
            service,
            metrics,
            links,
            limits,
            budget,
            bodies: MemoryBudget::of(limits.bodies_bytes),
            auth: None,
            proxies: TrustedProxies::default(),
            shared_rates: None,
            streams: StreamSlots::new(&limits),
            webhooks: None,
            draining: CancellationToken::new(),
            hold,
            missing_scope,
            trace: None,
            web: false,
        }
    }

    /// The state of a server that authenticates its callers.
    #[must_use]
    pub fn with_auth(self, auth: Authenticator) -> Self {
        Self { auth: Some(auth), ..self }
    }

    /// True if callers must authenticate.
    pub(crate) fn authenticates(&self) -> bool {
        self.auth.as_ref().is_some_and(Authenticator::is_required)
    }

    /// The state of a server behind these proxies.
    #[must_use]
    pub fn behind(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// The state of a server that limits the rate of each caller's requests.
    #[must_use]
    pub fn with_rate_limit(mut self, rate: RateLimit) -> Self {
        self.limits.rate = rate;
        self
    }

    /// The state of a server that counts the rates of its callers with others.
    #[must_use]
    pub fn sharing_rates(self, shared_rates: Option<Arc<dyn SharedRates>>) -> Self {
        Self { shared_rates, ..self }
    }

    /// The state of a server that shows these webhooks.
    #[must_use]
    pub fn with_webhooks(self, webhooks: Arc<dyn Webhooks>) -> Self {
        Self { webhooks: Some(webhooks), ..self }
    }

    /// The state of a server that serves the pages for people, or does not.
    #[must_use]
    pub fn with_web(self, web: bool) -> Self {
        Self { web, ..self }
    }

    /// The token by which a server that is about to stop says that it is not ready, and closes connections
    /// after their next answer.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// The state for a request with these headers.
    pub(crate) fn traced(&self, headers: &HeaderMap) -> Self {
        Self { trace: TraceId::of(headers), ..self.clone() }
    }

    /// Sets the address that the server listens on, for links where nothing better is known.
    pub fn listens_on(&self, address: SocketAddr) {
        self.links.bound_to(address);
    }
}
