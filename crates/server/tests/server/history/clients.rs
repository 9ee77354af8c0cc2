//! The clients that make a history: each goes on changing and reading files, builds on what it
//! last found, and writes down every operation with its times. They work on anything that behaves
//! like a set of files, so that the checker can be tried on stores with known faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::random_below;
use super::record::{Act, Content, Held, Operation, Outcome};

/// Clients at work at any moment.
pub(super) const CLIENTS: usize = 12;
/// The files they fight for.
pub(super) const FILES: usize = 4;

/// What clients ask, and what is asked about by the checker.
pub(super) trait Store: Send + Sync + 'static {
    /// Does it to the file.
    fn perform(&self, client: usize, file: usize, act: Act) -> impl Future<Output = Outcome> + Send;
}

/// What all clients share.
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

    /// Does something and writes it down.
    pub(super) async fn recorded(&self, client: usize, file: usize, act: Act) -> Operation {
        let asked = self.began.elapsed();
        let outcome = self.store.perform(client, file, act).await;
        Operation { client, file, act, outcome, asked, answered: self.began.elapsed() }
    }

    /// All clients at work for that long; gives what they did.
    pub(super) async fn run(self: &Arc<Self>, length: Duration) -> Vec<Operation> {
        let work = (0..CLIENTS).map(|_| tokio::spawn(self.clone().client(length))).collect::<Vec<_>>();
        let mut history = Vec::new();
        for client in work {
            history.extend(client.await.unwrap());
        }
        history
    }

    /// A client that got no answer is never heard of again; another one takes its place.
    async fn client(self: Arc<Self>, length: Duration) -> Vec<Operation> {
        let mut history = Vec::new();
        let mut seen: [Held; FILES] = [None; FILES];
        let mut name = self.clients.fetch_add(1, Ordering::Relaxed);
        let mut file = 0;
        while self.began.elapsed() < length {
            // Mostly the same again: who was refused has another try.
            file = if random_below(4) == 0 { random_below(FILES) } else { file };
            let operation = self.recorded(name, file, self.act(seen[file])).await;
            match operation.outcome {
                Outcome::Found(found) => seen[file] = found,
                Outcome::Changed => seen[file] = operation.acknowledged().and_then(|(_, to)| to),
                Outcome::Unknown => name = self.clients.fetch_add(1, Ordering::Relaxed),
            }
            history.push(operation);
        }
        history
    }

    fn act(&self, from: Held) -> Act {
        match (random_below(10), from) {
            (0..4, _) => Act::Read,
            (4, Some(_)) => Act::Change { from, to: None },
            _ => Act::Change { from, to: Some(Content(self.contents.fetch_add(1, Ordering::Relaxed))) },
        }
    }
}
