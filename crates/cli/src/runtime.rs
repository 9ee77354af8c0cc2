//! Starting and stopping what every server runs on. Invariant: nothing is served before the
//! schema is this binary's and the files are this database's; and on the way down nothing is closed
//! that something still running could need.

use std::sync::Arc;
use std::time::Duration;

use panaversity_model::Fault;
use panaversity_model::fault::FaultKind;
use panaversity_model::ports::{Objects, Tree, UploadStore, WebSessions, Webhooks};
use panaversity_server::auth::ApiKeySet;
use panaversity_server::{
    AppState, KeyTimes, LinkKeyRing, Metrics, PublishedKey, ServerLimits, SignedUrlOptions, SignedUrls,
};
use panaversity_service::limits::TaskTimes;
use panaversity_service::reconcile::QuickScan;
use panaversity_service::{Engines, Service};
use panaversity_store::migrations::{self, MigrationError};
use panaversity_store::{
    Backend, CachedObjects, Database, DatabaseIdentity, FileStorage, Metered, OPERATIONS, OperationObserver,
    S3Storage, SharedRedis, SqlApiKeys, SqlJournal, SqlLinkKeys, SqlWebSessions, SqlWebhooks,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::{SystemClock, UuidGenerator};
use crate::config::links::LinkSettings;
use crate::config::parsed::{DatabaseSettings, StoreSettings};
use crate::config::storage::StorageSettings;
use crate::failure::{Failure, NotYet};

/// How long the way down waits for paths that are not published yet; they are not lost, only late.
const LAST_PUBLICATIONS: Duration = Duration::from_secs(2);
/// How long it waits for the disk, and for the database.
const LAST_WORK: Duration = Duration::from_secs(5);
/// A background task that broke rests this long before it is started again.
const AFTER_A_BUG: Duration = Duration::from_secs(5);

/// The engines of a server with its service and background tasks.
pub(crate) struct Runtime {
    state: AppState,
    service: Service,
    database: Database,
    journal: Arc<SqlJournal>,
    /// Ends the background tasks that are kept running.
    stopping: CancellationToken,
    kept: [JoinHandle<()>; 3],
    /// The start's look at the folder.
    look: JoinHandle<()>,
}

/// Connects to the database.
pub(crate) async fn connect(settings: DatabaseSettings) -> Result<Database, Failure> {
    let named = settings.url.masked();
    for warning in settings.url.warnings() {
        tracing::warn!(target: "panaversity_fs.config", "{warning}");
    }
    Database::connect(&settings.url, settings.pool).await.map_err(|fault| {
        let hint = "check DATABASE_URL, and that the database can be reached";
        failed(&fault, format!("cannot open the database {named}: {fault} ({hint})"))
    })
}

/// Connects to a database that must exist. Commands that only inspect or mend use it: a mistyped
/// address must not leave an empty database behind.
pub(crate) async fn connect_existing(settings: DatabaseSettings) -> Result<Database, Failure> {
    if settings.url.is_new_file() {
        let named = settings.url.masked();
        return Err(Failure::Failed(format!(
            "there is no database {named}: check DATABASE_URL (a server creates it at its start, and so does \
             `panaversity-fs migrate upgrade`)"
        )));
    }
    connect(settings).await
}

/// Connects to a database that exists and has this program's schema.
pub(crate) async fn connect_current(settings: DatabaseSettings) -> Result<Database, Failure> {
    let database = connect_existing(settings).await?;
    let at = migrations::current(&database).await.map_err(migration_failed)?;
    if at == Some(migrations::newest()) {
        return Ok(database);
    }
    let found = at.map_or("is empty".to_owned(), |at| format!("is at revision {at}"));
    Err(Failure::Failed(format!(
        "the database {found}, not at this program's: start the server, or run `panaversity-fs migrate upgrade`"
    )))
}

/// What a refused or failed migration tells the operator.
pub(crate) fn migration_failed(error: MigrationError) -> Failure {
    match error {
        MigrationError::Refused(why) => Failure::Failed(why),
        MigrationError::Broken(fault) => {
            failed(&fault, format!("the database could not be migrated: {fault}"))
        }
    }
}

impl Runtime {
    /// Opens the engines and starts what works in the background.
    pub(crate) async fn start(settings: StoreSettings, links: LinkSettings) -> Result<Self, Failure> {
        let database = connect(settings.database.clone()).await?;
        let started = Self::over(database.clone(), settings, links).await;
        if started.is_err() {
            // Another try makes its own connections.
            let _ = tokio::time::timeout(LAST_WORK, database.close()).await;
        }
        started
    }

    async fn over(database: Database, settings: StoreSettings, links: LinkSettings) -> Result<Self, Failure> {
        for revision in migrations::upgrade(&database, None).await.map_err(migration_failed)? {
            tracing::info!(
                target: "panaversity_fs.migrations",
                revision = revision.number,
                name = revision.name,
                "migrated the database"
            );
        }
        let backend = settings.storage.backend();
        let journal =
            SqlJournal::open(database.clone(), backend).await.map_err(|fault| unreadable(&fault))?;
        let limits = server_limits(&settings, &links);
        let metrics = Metrics::new(backend.name(), &OPERATIONS, limits.books_with_metrics)
            .map_err(|error| Failure::Failed(format!("the metrics are wrong: {error}")))?;
        let metrics = Arc::new(metrics);
        let redis = settings.redis.as_ref().map(|url| SharedRedis::open(url, journal.store_id()));
        let redis = redis.transpose().map_err(|why| {
            Failure::Failed(format!("Redis cannot be used: {why} (see PANAVERSITY_REDIS_URL)"))
        })?;
        let mut engines = metered(engines(&journal, &settings.storage).await?, &metrics, backend.name());
        if let Some(redis) = &redis {
            engines.objects = CachedObjects::new(engines.objects, redis.clone());
        }
        let service = Service::new(engines, settings.limits);
        let again = service.recheck_published().await.map_err(|fault| unreadable(&fault))?;
        if again > 0 {
            // After an unclean stop, or because another server serves the same store: nobody can tell.
            tracing::debug!(
                target: "panaversity_fs.server",
                paths = again,
                "files published since the last clean point are published again"
            );
        }
        let keys = if let Some(keys) = &links.signing_keys {
            LinkKeyRing::fixed(keys.clone())
        } else {
            let stored = Arc::new(SqlLinkKeys::new(database.clone()));
            let ring = LinkKeyRing::of_store(stored, links.valid_for, settings.keys).await;
            ring.map_err(|fault| unreadable(&fault))?
        };
        let state = AppState::new(service.clone(), metrics, signed_urls(links, keys, backend), limits)
            .sharing_rates(redis.map(|redis| Arc::new(redis) as _));
        let stopping = CancellationToken::new();
        let kept = in_background(&service, settings.tasks, &stopping);
        let look = tokio::spawn(look_for_foreign_files(service.clone()));
        Ok(Self { state, service, database, journal, stopping, kept, look })
    }

    /// What requests are answered with.
    pub(crate) fn state(&self) -> AppState {
        self.state.clone()
    }

    /// Reads the API keys of this store, and goes on to read them.
    pub(crate) async fn open_api_keys(&self, times: KeyTimes) -> Result<ApiKeySet, Failure> {
        let keys = ApiKeySet::open(Arc::new(SqlApiKeys::new(self.database.clone())), times).await;
        keys.map_err(|fault| failed(&fault, format!("the API keys can't be read: {fault}")))
    }

    /// The sessions of browsers.
    pub(crate) fn web_sessions(&self) -> Arc<dyn WebSessions> {
        Arc::new(SqlWebSessions::new(self.database.clone()))
    }

    /// The webhooks of this store.
    pub(crate) fn webhooks(&self) -> Arc<dyn Webhooks> {
        Arc::new(SqlWebhooks::new(self.database.clone()))
    }

    /// Stops everything, in the reverse order. No request is running by now.
    pub(crate) async fn stop(self) {
        self.stopping.cancel();
        self.look.abort();
        for task in self.kept.into_iter().chain([self.look]) {
            // Aborted is how the look should end.
            let _ = task.await;
        }
        let service = &self.service;
        match tokio::time::timeout(LAST_PUBLICATIONS, service.publish_pending()).await {
            Ok(Ok((_, 0))) => {}
            _ => {
                tracing::warn!(
                    target: "panaversity_fs.server",
                    "some files are not published yet; the next start does it"
                );
            }
        }
        match tokio::time::timeout(LAST_WORK, service.fsync_checkpoint()).await {
            Ok(Ok(())) => {}
            _ => {
                tracing::warn!(
                    target: "panaversity_fs.server",
                    "no clean point was reached; the next start checks recent files again"
                );
            }
        }
        let closed = tokio::time::timeout(LAST_WORK, async {
            self.journal.close().await;
            self.database.close().await;
        });
        if closed.await.is_err() {
            tracing::warn!(target: "panaversity_fs.server", "the database did not close in time");
        }
    }
}

/// Where the files are kept, for its three ports.
type StoragePorts = (Arc<dyn Objects>, Arc<dyn UploadStore>, Arc<dyn Tree>);

/// Opens it, as the one storage of this database.
async fn open_storage(storage: &StorageSettings, journal: &SqlJournal) -> Result<StoragePorts, Failure> {
    let open = async |store_id: &str, fresh| -> Result<StoragePorts, Fault> {
        Ok(match storage {
            StorageSettings::Folder(root) => {
                let folder = FileStorage::open(root, store_id, fresh)?;
                (folder.clone() as _, folder.clone() as _, folder as _)
            }
            StorageSettings::Bucket(bucket) => {
                let bucket = S3Storage::open(bucket, store_id, fresh).await?;
                (bucket.clone() as _, bucket.clone() as _, bucket as _)
            }
        })
    };
    journal.pair(open).await.map_err(|fault| {
        if matches!(fault.kind, FaultKind::Database | FaultKind::Schema) {
            return unreadable(&fault);
        }
        let (shown, names) = (storage.shown(), storage.names());
        failed(&fault, format!("cannot use {shown}: {fault} (see {names})"))
    })
}

/// The engines of an operator's command, which may run beside servers and does nothing in the
/// background.
pub(crate) struct MaintenanceRuntime {
    pub(crate) service: Service,
    database: Database,
    journal: Arc<SqlJournal>,
}

impl MaintenanceRuntime {
    /// Opens them over a database of this program's schema and its storage; creates neither.
    pub(crate) async fn open(settings: StoreSettings) -> Result<Self, Failure> {
        let database = connect_current(settings.database).await?;
        if !DatabaseIdentity::of(&database).await.map_err(|fault| unreadable(&fault))?.is_paired {
            let shown = settings.storage.shown();
            return Err(Failure::Failed(format!(
                "no server was started on this database yet, so {shown} is not known to be its storage: start the \
                 server once"
            )));
        }
        let journal = SqlJournal::open_shared(database.clone(), settings.storage.backend());
        let journal = journal.await.map_err(|fault| unreadable(&fault))?;
        let engines = engines(&journal, &settings.storage).await?;
        Ok(Self { service: Service::new(engines, settings.limits), database, journal })
    }

    /// Finishes what was asked for.
    pub(crate) async fn close(self) {
        self.journal.close().await;
        self.database.close().await;
    }
}

async fn engines(journal: &Arc<SqlJournal>, storage: &StorageSettings) -> Result<Engines, Failure> {
    let (objects, upload_store, tree) = open_storage(storage, journal).await?;
    Ok(Engines {
        journal: journal.clone(),
        objects,
        upload_store,
        tree,
        clock: Arc::new(SystemClock::new()),
        ids: Arc::new(UuidGenerator),
    })
}

fn metered(engines: Engines, metrics: &Arc<Metrics>, backend: &'static str) -> Engines {
    let metrics = metrics.clone();
    let observer: OperationObserver =
        Arc::new(move |operation, answered| metrics.storage_asked(backend, operation, answered));
    Engines {
        objects: Metered::new(engines.objects, &observer),
        upload_store: Metered::new(engines.upload_store, &observer),
        tree: Metered::new(engines.tree, &observer),
        ..engines
    }
}

/// A short look at the folder, so that what somebody put there by hand does not go unnoticed. On
/// buckets an operator asks for it.
async fn look_for_foreign_files(service: Service) {
    if service.storage_backend() != Backend::Fs.name() {
        return;
    }
    match service.quick_scan().await {
        Ok(QuickScan { foreign: 0, changed: 0, .. }) => {}
        Ok(scan) => tracing::warn!(
            target: "panaversity_fs.server",
            strangers = scan.foreign,
            changed = scan.changed,
            example = scan.example,
            cut_short = scan.cut_short,
            "files below books/ were put there or changed by hand, and agents do not see that: \
             `panaversity-fs reconcile` lists them, `panaversity-fs reconcile --adopt` takes them in"
        ),
        Err(fault) => {
            tracing::warn!(target: "panaversity_fs.server", error = %fault, "the folder could not be looked through");
        }
    }
}

/// The limits of a server in this process. The soft limit of open files is raised to the hard one before:
/// 1,024 is a limit for programs that use `select`.
pub(crate) fn server_limits(settings: &StoreSettings, links: &LinkSettings) -> ServerLimits {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some() && limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, ..limit };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit.current = limit.maximum;
        }
    }
    let descriptors = limit.current.and_then(|current| usize::try_from(current).ok());
    ServerLimits::new(descriptors.unwrap_or(usize::MAX), settings.limits.direct_bytes, links.archive_timeout)
}

fn signed_urls(links: LinkSettings, keys: LinkKeyRing, backend: Backend) -> SignedUrls {
    let published_key: PublishedKey = Arc::new(move |file| backend.published(file));
    SignedUrls::new(SignedUrlOptions {
        keys,
        public_url: links.public_url,
        cdn: links.cdn_base_url.map(|url| (url, published_key)),
        valid_for: links.valid_for,
    })
}

fn unreadable(fault: &Fault) -> Failure {
    failed(fault, format!("the database cannot be used: {fault}"))
}

/// A failure that may be waited for if the fault may pass.
fn failed(fault: &Fault, why: String) -> Failure {
    if fault.is_transient {
        Failure::NotYet(NotYet { kind: fault.kind, reason: fault.to_string(), why })
    } else {
        Failure::Failed(why)
    }
}

fn in_background(service: &Service, times: TaskTimes, stopping: &CancellationToken) -> [JoinHandle<()>; 3] {
    let (publisher, verifier, clearing) = (service.clone(), service.clone(), service.clone());
    [
        tokio::spawn(kept_running("publisher", stopping.clone(), move || {
            let service = publisher.clone();
            async move { service.run_publisher(times).await }
        })),
        tokio::spawn(kept_running("verifier", stopping.clone(), move || {
            let service = verifier.clone();
            async move { service.run_verifier().await }
        })),
        tokio::spawn(kept_running("clearing of uploads", stopping.clone(), move || {
            let service = clearing.clone();
            async move { service.run_upload_cleanup(times).await }
        })),
    ]
}

/// Runs a task that should never end, and starts it again if a bug ends it. When `stopping` is
/// cancelled it returns only after the task has ended, so that what the task uses can be closed.
async fn kept_running<F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    stopping: CancellationToken,
    task: impl Fn() -> F,
) {
    loop {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(task());
        tokio::select! {
            _ = tasks.join_next() => {}
            () = stopping.cancelled() => return tasks.shutdown().await,
        }
        tracing::error!(target: "panaversity_fs.server", task = name, "a background task ended; it is started again");
        if stopping.run_until_cancelled(tokio::time::sleep(AFTER_A_BUG)).await.is_none() {
            return;
        }
    }
}
