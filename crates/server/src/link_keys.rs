//! Signing keys of links, in memory: those of the settings, or those of the store, which are read again
//! every few seconds. For their rotation see `link_key` of the model.

use std::sync::Arc;
use std::time::Duration;

use panaversity_model::Fault;
use panaversity_model::ports::LinkKeys;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::limits::KeyTimes;

/// The keys that links are signed and checked with. Cheap to clone.
#[derive(Clone)]
pub struct LinkKeyRing {
    /// At least one; the first signs.
    keys: watch::Receiver<Vec<SecretString>>,
    _reader: Option<Arc<AbortOnDropHandle<()>>>,
}

impl LinkKeyRing {
    /// These keys, of which the first signs. There must be one.
    pub fn fixed(keys: Vec<SecretString>) -> Self {
        Self { keys: watch::channel(keys).1, _reader: None }
    }

    /// The keys of a store, whose links are valid for `valid_for`, read again as often as `times` say. While
    /// they can't be read, those read last are used: every link names what is then looked up in the same
    /// database.
    pub async fn of_store(
        store: Arc<dyn LinkKeys>,
        valid_for: Duration,
        times: KeyTimes,
    ) -> Result<Self, Fault> {
        let (sender, keys) = watch::channel(store.link_keys().await?.accepted(valid_for));
        let reader = tokio::spawn(async move {
            loop {
                tokio::time::sleep(times.link_keys_read_every).await;
                match store.link_keys().await {
                    Ok(list) => drop(sender.send_replace(list.accepted(valid_for))),
                    Err(fault) => {
                        tracing::debug!(target: "panaversity_fs.server", error = %fault, "the signing keys could not be read");
                    }
                }
            }
        });
        Ok(Self { keys, _reader: Some(Arc::new(AbortOnDropHandle::new(reader))) })
    }

    /// The accepted keys, as they are now; the first signs.
    pub(crate) fn accepted(&self) -> watch::Ref<'_, Vec<SecretString>> {
        self.keys.borrow()
    }
}
