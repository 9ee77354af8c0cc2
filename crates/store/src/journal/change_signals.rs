//! Signals that books have changed, for readers of the feed. They only save time: a reader that gets none
//! looks by itself from time to time.
//!
//! # Protocol
//! 1. The committer notes the book of each committed set. Readers on this server are woken at once.
//! 2. On PostgreSQL the noted books are announced to the other servers by `NOTIFY`, those of
//!    [`ANNOUNCED_EVERY`] together. Not in the transaction of a change: there `NOTIFY` would take a lock that
//!    all such transactions wait for.
//! 3. The first reader of a server opens a connection that listens to the announcements. It is opened again
//!    after it was lost; then all readers are woken. Behind a transaction pooler nobody can listen.
//! 4. A server ignores its own announcements.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use panaversity_model::BookId;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::database::{Database, Durability, Engine, Sql};
use crate::limits::{ANNOUNCED_EVERY, LISTEN_AGAIN};

/// Channel of the announcements.
const CHANNEL: &str = "panaversityfs_changes";
/// Most books of one announcement: PostgreSQL takes at most 8,000 bytes.
const ANNOUNCED_BOOKS: usize = 100;

/// Signals of one server.
pub(super) struct ChangeSignals {
    /// Books that have readers here.
    read: Mutex<HashMap<String, watch::Sender<()>>>,
    /// Books that changed and are not announced yet; `None`: nobody is told.
    changed: Option<Mutex<BTreeSet<String>>>,
    is_changed: Notify,
    /// Name of this server in its announcements.
    origin: String,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    announcer: Option<AbortOnDropHandle<()>>,
    listener: Option<AbortOnDropHandle<()>>,
    is_closed: bool,
}

impl ChangeSignals {
    /// The signals of a server; on PostgreSQL they are announced to others.
    pub(super) fn start(db: &Database) -> Arc<Self> {
        let is_shared = matches!(db.engine, Engine::Postgres(_));
        let signals = Arc::new(Self {
            read: Mutex::default(),
            changed: is_shared.then(Mutex::default),
            is_changed: Notify::new(),
            origin: Uuid::now_v7().simple().to_string(),
            tasks: Mutex::default(),
        });
        if is_shared {
            let announcer = tokio::spawn(announce(db.clone(), signals.clone()));
            signals.tasks().announcer = Some(AbortOnDropHandle::new(announcer));
        }
        signals
    }

    /// Step 1.
    pub(super) fn note<'a>(&self, books: impl Iterator<Item = &'a BookId>) {
        let books: BTreeSet<&str> = books.map(BookId::as_str).collect();
        if books.is_empty() {
            return;
        }
        let read = locked(&self.read);
        for signal in books.iter().filter_map(|book| read.get(*book)) {
            signal.send_replace(());
        }
        drop(read);
        if let Some(changed) = &self.changed {
            locked(changed).extend(books.into_iter().map(str::to_owned));
            self.is_changed.notify_one();
        }
    }

    /// Signals of one book, from now on.
    pub(super) fn subscribe(&self, book: &BookId) -> BoxStream<'static, ()> {
        let mut read = locked(&self.read);
        read.retain(|_, signal| signal.receiver_count() > 0);
        let signal = read.entry(book.as_str().to_owned()).or_insert_with(|| watch::channel(()).0);
        let next = async |mut signal: watch::Receiver<()>| {
            signal.changed().await.ok()?;
            Some(((), signal))
        };
        stream::unfold(signal.subscribe(), next).boxed()
    }

    /// Begins step 3, if it has not begun.
    pub(super) fn listen(self: &Arc<Self>, db: &Database) {
        let Engine::Postgres(server) = &db.engine else { return };
        let mut tasks = self.tasks();
        if tasks.listener.is_some() || tasks.is_closed || server.is_behind_pooler() {
            return;
        }
        let (server, signals) = (server.clone(), Arc::downgrade(self));
        let listener = async move {
            loop {
                if let Ok(mut announcements) = server.listen(CHANNEL).await {
                    let mut heard = Some(String::new());
                    while let Some(announced) = heard {
                        let Some(signals) = signals.upgrade() else { return };
                        signals.wake(&announced);
                        drop(signals);
                        heard = announcements.next().await;
                    }
                }
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
        };
        tasks.listener = Some(AbortOnDropHandle::new(tokio::spawn(listener)));
    }

    /// Wakes the readers of announced books; of all, if none is named.
    fn wake(&self, announced: &str) {
        let (origin, books) = announced.split_once(' ').unwrap_or_default();
        if origin == self.origin {
            return;
        }
        let read = locked(&self.read);
        let books = books.split(',').filter(|book| !book.is_empty()).collect::<Vec<_>>();
        let signals = read.iter().filter(|(book, _)| books.is_empty() || books.contains(&book.as_str()));
        signals.for_each(|(_, signal)| signal.send_replace(()));
    }

    /// Ends the announcements and the listening.
    pub(super) fn close(&self) {
        *self.tasks() = Tasks { is_closed: true, ..Tasks::default() };
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        locked(&self.tasks)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Step 2, until it is aborted.
async fn announce(db: Database, signals: Arc<ChangeSignals>) {
    let Some(changed) = &signals.changed else { return };
    loop {
        signals.is_changed.notified().await;
        let books: Vec<String> = std::mem::take(&mut *locked(changed)).into_iter().collect();
        for some in books.chunks(ANNOUNCED_BOOKS) {
            // The readers of other servers look by themselves.
            let _ = send(&db, &format!("{} {}", signals.origin, some.join(","))).await;
        }
        tokio::time::sleep(ANNOUNCED_EVERY).await;
    }
}

async fn send(db: &Database, announcement: &str) -> Sql<()> {
    let mut session = db.begin(Durability::Kill).await?;
    let values = vec![CHANNEL.into(), announcement.into()];
    session.execute("SELECT pg_notify($1, $2)", values).await?;
    session.commit().await
}
