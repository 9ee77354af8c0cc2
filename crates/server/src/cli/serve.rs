//! `serve`: the HTTP door, from the first setting read to the last connection closed.
//!
//! 1. Settings, logging, what is odd about the settings.
//! 2. The port: from now on who connects is answered; until 4, that the server is starting.
//! 3. The engines. What is not up yet is waited for (see [`startup`]); a signal ends the wait.
//! 4. The routes over them take the place of that answer, on the same connections.
//! 5. On a signal: no new connections, running calls end by themselves; after [`DRAIN`] what is
//!    left is cancelled. Then the engines stop. A second signal ends the process at once.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use super::{Failure, startup, warn_of};
use crate::config::Sources;
use crate::config::flags::ServeFlags;
use crate::config::links::LinkSettings;
use crate::config::settings::{HttpSettings, LogSettings, StoreSettings};
use crate::http::{self, AllowedHosts, ConnectionAbort, Gate, TimeoutListener};
use crate::logging;

/// How long running calls may go on after the signal.
const DRAIN: Duration = Duration::from_secs(20);
/// How long cancelled calls may take to end.
const AFTER_CANCEL: Duration = Duration::from_secs(2);

/// Runs `serve`.
pub(super) async fn run(flags: ServeFlags) -> Result<(), Failure> {
    let sources = Sources::gather(flags.into_given())?;
    let (log, store, http) =
        (LogSettings::read(&sources)?, StoreSettings::read(&sources)?, HttpSettings::read(&sources)?);
    let links = LinkSettings::read(&sources)?;
    logging::start(log);
    warn_of(&sources);
    let mut signals = Signals::listen()?;
    let (listener, address) = bind(&http).await.map_err(|error| no_listener(&http, &error))?;
    let (hosts, closing) = (AllowedHosts::new(&http, address.ip().is_loopback()), CancellationToken::new());
    let (database, storage) = (store.database.url.backend(), store.storage.backend().name());
    let gate = Gate::new(hosts.clone(), database, storage);
    let service = gate.router().into_make_service_with_connect_info::<ConnectionAbort>();
    let server = axum::serve(TimeoutListener(listener), service)
        .with_graceful_shutdown(closing.clone().cancelled_owned());
    let mut server = tokio::spawn(server.into_future());

    let running = tokio::select! {
        opened = startup::open(&store, &links, http.startup_timeout, (&gate, address)) => opened?,
        signal = signals.next() => {
            tracing::info!(target: "panaversity_fs.server", signal, "stopping: the start was not finished");
            return Ok(());
        }
        ended = &mut server => return Err(no_longer(&ended)),
    };
    warn_of_address(&http, address);
    running.app.links.bound_to(&address.to_string());
    let stop = CancellationToken::new();
    gate.open(http::router(running.app.clone(), hosts, stop.clone()));
    announce(address, database, storage);

    tokio::select! {
        signal = signals.next() => {
            tracing::info!(target: "panaversity_fs.server", signal, "stopping: running calls are finished");
        }
        ended = &mut server => {
            running.stop().await;
            return Err(no_longer(&ended));
        }
    }
    closing.cancel();
    let down = async {
        if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
            tracing::warn!(target: "panaversity_fs.server", "some calls did not end in time and are cancelled");
            stop.cancel();
            let _ = tokio::time::timeout(AFTER_CANCEL, &mut server).await;
            server.abort();
        }
        running.stop().await;
    };
    tokio::select! {
        () = down => tracing::info!(target: "panaversity_fs.server", "stopped"),
        signal = signals.next() => at_once(signal),
    }
    Ok(())
}

/// Tells who can reach the server, and who can't reach what it links to.
fn warn_of_address(http: &HttpSettings, address: SocketAddr) {
    if address.ip().is_loopback() {
        return;
    }
    if http.production {
        tracing::warn!(
            target: "panaversity_fs.server",
            address = %address,
            "this version has no authentication: everyone who reaches this address can read and write all books"
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

/// Ends the process without finishing anything: what was acknowledged is durable anyway.
fn at_once(signal: &str) -> ! {
    tracing::warn!(target: "panaversity_fs.server", signal, "asked a second time: ending at once");
    std::process::exit(1)
}

fn announce(address: SocketAddr, database: &'static str, storage: &'static str) {
    tracing::info!(
        target: "panaversity_fs.server",
        address = %address,
        version = env!("CARGO_PKG_VERSION"),
        database,
        storage,
        "listening on http://{address}"
    );
}

pub(super) async fn bind(settings: &HttpSettings) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((settings.host.as_str(), settings.port)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn no_listener(settings: &HttpSettings, error: &std::io::Error) -> Failure {
    let HttpSettings { host, port, .. } = settings;
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program uses the port; choose one with PANAVERSITY_SERVER_PORT"
        }
        _ => "check PANAVERSITY_SERVER_HOST and PANAVERSITY_SERVER_PORT",
    };
    Failure::Failed(format!("cannot listen on {host} port {port}: {error} ({hint})"))
}
