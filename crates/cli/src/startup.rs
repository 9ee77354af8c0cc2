//! Waiting, at the start of `serve`, for engines that are not up yet, as when a whole machine or a
//! compose file starts at once.
//!
//! 1. A try is a whole start of the runtime and the first reading of the API keys; what it opened is closed
//!    when it fails.
//! 2. Only what may pass is waited for: nobody answers, a name is not known yet, the database is
//!    starting or full, the bucket is broken for now or was not made yet. What an operator must mend,
//!    such as a wrong password or a storage of another database, ends the start at once.
//! 3. Between tries there is a pause, as [`StartPauses`] say; the last try is made when
//!    the time is over. A try is never cut off by it, for it may be migrating.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::links::LinkSettings;
use crate::config::parsed::StoreSettings;
use crate::failure::{Failure, NotYet};
use crate::limits::StartPauses;
use crate::runtime::Runtime;
use backon::{BackoffBuilder, ExponentialBuilder};
use panaversity_server::auth::ApiKeySet;
use panaversity_server::{Gate, name_of};

/// Opens the engines and reads the API keys, within `timeout` if the engines are not up yet. `gate` is told what
/// is waited for.
pub(crate) async fn open(
    store: &StoreSettings,
    links: &LinkSettings,
    timeout: Duration,
    (gate, address): (&Gate, SocketAddr),
) -> Result<(Runtime, ApiKeySet), Failure> {
    let StartPauses { shortest, longest } = store.start_pauses;
    let pauses = ExponentialBuilder::new().with_min_delay(shortest).with_max_delay(longest);
    let (began, mut pauses) = (Instant::now(), pauses.without_max_times().build());
    loop {
        let failure = match attempt(store, links).await {
            Ok(opened) => return Ok(opened),
            Err(failure) => failure,
        };
        let left = timeout.saturating_sub(began.elapsed());
        let Failure::NotYet(NotYet { kind, reason, .. }) = &failure else { return Err(failure) };
        if left.is_zero() {
            return Err(failure);
        }
        gate.waits_for(*kind);
        let waiting_for = name_of(*kind);
        tracing::warn!(
            target: "panaversity_fs.server",
            address = %address,
            waiting_for,
            seconds_left = left.as_secs(),
            "waiting for the {waiting_for}: {reason}"
        );
        tokio::time::sleep(pauses.next().unwrap_or(longest).min(left)).await;
    }
}

async fn attempt(store: &StoreSettings, links: &LinkSettings) -> Result<(Runtime, ApiKeySet), Failure> {
    let runtime = Runtime::start(store.clone(), links.clone()).await?;
    match runtime.open_api_keys(store.keys).await {
        Ok(keys) => Ok((runtime, keys)),
        Err(failure) => {
            runtime.stop().await;
            Err(failure)
        }
    }
}
