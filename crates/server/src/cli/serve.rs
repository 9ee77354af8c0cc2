//! `serve`: the HTTP door, from the first setting read to the last connection closed.
//!
//! 1. Settings, logging, what is odd about the settings.
//! 2. The engines.
//! 3. The port: who can connect is answered, no connection waits for a migration.
//! 4. On a signal: no new connections, running calls end by themselves; after [`DRAIN`] what is
//!    left is cancelled. Then the engines stop. A second signal ends the process at once.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::engines::Running;
use super::signals::Signals;
use super::{Failure, warn_of};
use crate::config::Sources;
use crate::config::flags::ServeFlags;
use crate::config::links::LinkSettings;
use crate::config::settings::{HttpSettings, LogSettings, StoreSettings};
use crate::http::{self, Endable, Hangup, Hosts};
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
    let (database, storage) = (store.database.url.backend(), store.storage.backend().name());
    let running = Running::start(store, links).await?;
    let (listener, address) = match bind(&http).await {
        Ok(bound) => bound,
        Err(error) => {
            running.stop().await;
            return Err(no_listener(&http, &error));
        }
    };
    let on_loopback = address.ip().is_loopback();
    if http.production && !on_loopback {
        tracing::warn!(
            target: "panaversity_fs.server",
            address = %address,
            "this version has no authentication: everyone who reaches this address can read and write all books"
        );
    }

    running.app.links.bound_to(&address.to_string());
    if http.public_url.is_none() && !on_loopback {
        tracing::warn!(
            target: "panaversity_fs.server",
            "PANAVERSITY_PUBLIC_URL is not set: links to assets, archives and uploads begin with http://{address}, \
             which clients may not reach"
        );
    }

    let stop = CancellationToken::new();
    let router = http::router(running.app.clone(), Hosts::new(&http, on_loopback), stop.clone());
    let router = router.into_make_service_with_connect_info::<Hangup>();
    let closing = CancellationToken::new();
    let server =
        axum::serve(Endable(listener), router).with_graceful_shutdown(closing.clone().cancelled_owned());
    let mut server = tokio::spawn(server.into_future());
    announce(address, database, storage);

    tokio::select! {
        signal = signals.next() => {
            tracing::info!(target: "panaversity_fs.server", signal, "stopping: running calls are finished");
        }
        ended = &mut server => {
            running.stop().await;
            return Err(Failure::Failed(format!("the server stopped listening: {ended:?}")));
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

async fn bind(settings: &HttpSettings) -> std::io::Result<(TcpListener, SocketAddr)> {
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
