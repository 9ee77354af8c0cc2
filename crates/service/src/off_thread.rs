//! Computations on threads of their own, so that they hold up no other call.

use panaversity_model::Fault;

/// Runs what computes long on a blocking thread. It runs to its end even if nobody waits for it any more.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| Fault::internal(format!("a computation ended: {error}")))
}
