//! Clients that generate a history: each keeps changing and reading files, bases its changes on
//! what it last read, and records every operation with its times. They work on any [`Store`], so
//! that the checker can be tested on stores with known faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::random_below;
use super::record::{Action, Content, Held, Operation, Outcome};

/// Number of concurrent clients.
pub(super) const CLIENTS: usize = 12;
/// Number of files that they share.
pub(super) const FILES: usize = 4;

/// A store under test.
pub(super) trait Store: Send + Sync + 'static {
    /// Performs the operation on the file.
    fn perform(&self, client: usize, file: usize, act: Action) -> impl Future<Output = Outcome> + Send;
}

/// State shared by all clients.
pub(super) struct Round<S> {
    store: Arc<S>,
    began: Instant,
    contents: AtomicU32,
    clients: AtomicUsize,
}

impl<S: Store> Round<S> {
    pub(super) fn on(store: Arc<S>) -> Arc<Self> {
        let (contents, clients) = (AtomicU32::new(1), AtomicUsize::new(0));
        Arc::new(Self { store, began: Instant::now(), contents, clients })
    }

    /// Performs an operation and records it.
    pub(super) async fn recorded(&self, client: usize, file: usize, act: Action) -> Operation {
        let asked = self.began.elapsed();
        let outcome = self.store.perform(client, file, act).await;
        Operation { client, file, act, outcome, asked, answered: self.began.elapsed() }
    }

    /// Runs all clients for this time; returns their operations.
    pub(super) async fn run(self: &Arc<Self>, length: Duration) -> Vec<Operation> {
        let work = (0..CLIENTS).map(|_| tokio::spawn(self.clone().client(length))).collect::<Vec<_>>();
        let mut history = Vec::new();
        for client in work {
            history.extend(client.await.unwrap());
        }
        history
    }

    /// One client. After an operation without an answer its id is retired, and it continues under a
    /// new one.
    async fn client(self: Arc<Self>, length: Duration) -> Vec<Operation> {
        let mut history = Vec::new();
        let mut seen: [Held; FILES] = [None; FILES];
        let mut name = self.clients.fetch_add(1, Ordering::Relaxed);
        let mut file = 0;
        while self.began.elapsed() < length {
            // Mostly the same file again: a refused client retries.
            file = if random_below(4) == 0 { random_below(FILES) } else { file };
            let operation = self.recorded(name, file, self.act(seen[file])).await;
            match operation.outcome {
                Outcome::Found(found) => seen[file] = found,
                Outcome::Changed => seen[file] = operation.acknowledged().and_then(|(_, to)| to),
                Outcome::Failed => {}
                Outcome::Unknown => name = self.clients.fetch_add(1, Ordering::Relaxed),
            }
            history.push(operation);
        }
        history
    }

    fn act(&self, from: Held) -> Action {
        match (random_below(10), from) {
            (0..4, _) => Action::Read,
            (4, Some(_)) => Action::Change { from, to: None },
            _ => Action::Change { from, to: Some(Content(self.contents.fetch_add(1, Ordering::Relaxed))) },
        }
    }
}
