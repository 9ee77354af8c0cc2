//! A whole HTTP server in this process, from its settings to the last connection closed.
//!
//! 1. The port: from now on who connects is answered; until 3, that the server is starting.
//! 2. The engines, and the API keys. What is not up yet is waited for (see [`startup`]).
//! 3. The routes over them take the place of that answer, on the same connections. From now on changes are sent
//!    to webhooks.
//! 4. Stopping: readiness says 503 and every answer closes its connection, while requests are still served
//!    for the shutdown delay, so that a load balancer sends them elsewhere. Then no new connections; running
//!    calls end by themselves, and after the shutdown timeout what is left is cancelled. Then the engines
//!    stop. No delivery to a webhook begins from the beginning of the stop on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use panaversity_model::ports::WebSessions;
use panaversity_server::auth::{ApiKeySet, AuthOptions};
use panaversity_server::{AllowedHosts, Authenticator, Gate, WebhookDispatcher, router, serve};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::config::links::LinkSettings;
use crate::config::parsed::{HttpSettings, StoreSettings};
use crate::config::storage::StorageSettings;
use crate::config::{ConfigError, Sources, auth};
use crate::failure::Failure;
use crate::limits::RuntimeLimits;
use crate::runtime::{Runtime, server_limits};
use crate::startup;

/// How long cancelled calls may take to end.
const AFTER_CANCEL: Duration = Duration::from_secs(2);
/// How long running deliveries to webhooks may take to end, and their leases to be released.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

/// Reason why a server of production does not start.
pub(crate) const NOBODY_AUTHENTICATES: &str = "PANAVERSITY_ENV is production, and there is no authentication, so everyone who reaches the server could \
     change all books: set PANAVERSITY_JWT_SECRET or PANAVERSITY_AUTH_SERVER_URL, or create an API key with \
     `panaversity-fs keys create`";

/// Settings of an HTTP server.
pub(crate) struct ServerSettings {
    pub(crate) store: StoreSettings,
    pub(crate) http: HttpSettings,
    pub(crate) links: LinkSettings,
    pub(crate) auth: AuthOptions,
}

impl ServerSettings {
    /// Reads them.
    pub(crate) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let settings = Self {
            store: StoreSettings::read(sources)?,
            http: HttpSettings::read(sources)?,
            links: LinkSettings::read(sources)?,
            auth: auth::read(sources)?,
        };
        settings.require_production()?;
        Ok(settings)
    }

    /// Refuses in production what is only fit for trials. Whether callers must authenticate is known only once
    /// the database is open; see [`NOBODY_AUTHENTICATES`].
    fn require_production(&self) -> Result<(), ConfigError> {
        if !self.http.production {
            return Ok(());
        }
        if self.store.database.url.backend() == "sqlite" {
            return Err(ConfigError(
                "PANAVERSITY_ENV is production, and the database is SQLite: set DATABASE_URL to PostgreSQL"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// A server that is ready. Dropped without [`stop`](Self::stop), it stops listening at once and leaves
/// its engines to the end of the process.
pub struct HttpServer {
    address: SocketAddr,
    runtime: Runtime,
    serving: AbortOnDropHandle<io::Result<()>>,
    /// Sends changes to webhooks.
    dispatching: AbortOnDropHandle<()>,
    /// Ends the accepting of connections when it is dropped.
    closing: DropGuard,
    /// Ends the running calls.
    cancelling: CancellationToken,
    /// Makes the server unready, and its connections end.
    draining: CancellationToken,
    shutdown_delay: Duration,
    shutdown_timeout: Duration,
}

impl HttpServer {
    /// Starts a server with these settings, named as in the environment, which itself is not read.
    ///
    /// # Errors
    /// A setting is wrong, the address is taken, or an engine could not be opened in time.
    pub async fn start(settings: &[(&str, &str)]) -> Result<Self, Failure> {
        Self::start_within(settings, RuntimeLimits::default()).await
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_within(settings: &[(&str, &str)], limits: RuntimeLimits) -> Result<Self, Failure> {
        crate::use_ring();
        let mut settings = ServerSettings::read(&Sources::of_environment(settings))?;
        settings.store.tasks = limits.tasks;
        settings.store.keys = limits.keys;
        settings.store.webhooks = limits.webhooks;
        settings.store.start_pauses = limits.start_pauses;
        if let StorageSettings::Bucket(bucket) = &mut settings.store.storage {
            bucket.limits = limits.bucket;
        }
        Self::open(settings).await
    }

    /// Starts a server. Dropped before it is ready, it leaves nothing listening.
    pub(crate) async fn open(settings: ServerSettings) -> Result<Self, Failure> {
        let ServerSettings { store, http, links, auth } = settings;
        let (listener, address) = bind(&http).await.map_err(|error| no_listener(&http, &error))?;
        let on_loopback = address.ip().is_loopback();
        let hosts = AllowedHosts::new(http.public_url.as_ref(), &http.allowed_hosts, on_loopback)
            .with_origins(http.cors_origins.clone());
        let (database, storage) = (store.database.url.backend(), store.storage.backend().name());
        let (closing, cancelling) = (CancellationToken::new(), CancellationToken::new());
        let gate = Gate::new(hosts.clone(), database, storage);
        let serving = tokio::spawn(serve(
            listener,
            gate.router(),
            server_limits(&store, &links).connections,
            closing.clone(),
        ));
        let mut serving = AbortOnDropHandle::new(serving);
        let closing = closing.drop_guard();
        let (runtime, keys) = tokio::select! {
            opened = startup::open(&store, &links, http.startup_timeout, (&gate, address)) => opened?,
            ended = &mut serving => return Err(no_longer(&ended)),
        };
        let auth = match authenticator(auth, keys, runtime.web_sessions(), http.production) {
            Ok(auth) => auth,
            Err(failure) => {
                runtime.stop().await;
                return Err(failure);
            }
        };
        // Without it nothing else fails: a machine may have no certificates, and a store no webhooks.
        let dispatcher = WebhookDispatcher::new(&runtime.state(), runtime.webhooks(), *store.webhooks);
        let dispatcher = dispatcher.inspect_err(|why| {
            tracing::warn!(target: "panaversity_fs.webhooks", "webhooks are not sent by this server: {why}");
        });
        warn_of_address(&http, address, auth.is_required());
        let state = runtime.state().with_auth(auth).with_rate_limit(http.rate).with_web(http.web);
        let state = state.behind(http.proxies.clone()).with_webhooks(runtime.webhooks());
        state.listens_on(address);
        let draining = state.draining();
        gate.open(router(state, hosts, cancelling.clone()));
        let stop = draining.clone();
        let dispatching = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Ok(dispatcher) = dispatcher {
                dispatcher.run(stop).await;
            }
        }));
        tracing::info!(
            target: "panaversity_fs.server",
            address = %address,
            version = env!("CARGO_PKG_VERSION"),
            database,
            storage,
            "listening on http://{address}"
        );
        let HttpSettings { shutdown_delay, shutdown_timeout, .. } = http;
        Ok(Self {
            address,
            runtime,
            serving,
            dispatching,
            closing,
            cancelling,
            draining,
            shutdown_delay,
            shutdown_timeout,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the listener breaks, which it should not.
    pub(crate) async fn broken(&mut self) -> Failure {
        no_longer(&(&mut self.serving).await)
    }

    /// Stops it by step 4 above.
    pub async fn stop(self) {
        let Self { runtime, mut serving, dispatching, closing, cancelling, .. } = self;
        self.draining.cancel();
        let dispatching = tokio::spawn(tokio::time::timeout(LAST_DELIVERIES, dispatching));
        if !serving.is_finished() {
            tokio::time::sleep(self.shutdown_delay).await;
        }
        drop(closing);
        if !serving.is_finished() && tokio::time::timeout(self.shutdown_timeout, &mut serving).await.is_err()
        {
            tracing::warn!(target: "panaversity_fs.server", "some calls did not end in time and are cancelled");
            cancelling.cancel();
            let _ = tokio::time::timeout(AFTER_CANCEL, &mut serving).await;
        }
        drop(serving);
        // Leases that were not released in time run out.
        let _ = dispatching.await;
        runtime.stop().await;
    }
}

/// The authenticator of a server; in production it must be of use.
fn authenticator(
    options: AuthOptions,
    keys: ApiKeySet,
    sessions: Arc<dyn WebSessions>,
    production: bool,
) -> Result<Authenticator, Failure> {
    let auth = Authenticator::new(options, keys, sessions).map_err(Failure::Failed)?;
    if production && !auth.is_required() {
        return Err(Failure::Failed(NOBODY_AUTHENTICATES.to_owned()));
    }
    Ok(auth)
}

/// Tells who can reach the server, and who can't reach what it links to.
fn warn_of_address(http: &HttpSettings, address: SocketAddr, authenticates: bool) {
    if address.ip().is_loopback() {
        return;
    }
    if !authenticates {
        tracing::warn!(
            target: "panaversity_fs.server",
            address = %address,
            "there is no authentication: everyone who reaches this address can read and change all books; set \
             PANAVERSITY_JWT_SECRET or PANAVERSITY_AUTH_SERVER_URL, or create an API key with `panaversity-fs keys \
             create`"
        );
    }
    if http.public_url.is_none() {
        tracing::warn!(
            target: "panaversity_fs.server",
            "PANAVERSITY_PUBLIC_URL is not set: links to assets, archives and uploads begin with http://{address}, \
             which clients may not reach"
        );
    }
}

fn no_longer(ended: &impl std::fmt::Debug) -> Failure {
    Failure::Failed(format!("the server stopped listening: {ended:?}"))
}

/// Listens on the address of these settings.
pub(crate) async fn bind(settings: &HttpSettings) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((settings.host.as_str(), settings.port)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn no_listener(settings: &HttpSettings, error: &io::Error) -> Failure {
    let HttpSettings { host, port, .. } = settings;
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "another program uses the port; choose one with PANAVERSITY_SERVER_PORT",
        _ => "check PANAVERSITY_SERVER_HOST and PANAVERSITY_SERVER_PORT",
    };
    Failure::Failed(format!("cannot listen on {host} port {port}: {error} ({hint})"))
}
