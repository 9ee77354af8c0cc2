//! A whole server on SQLite and a folder, behind a faulty proxy, and a client that knows only the proxy.
//! Proves nothing itself.

use panaversity_client::hydrate::{HydrateOptions, HydrateReport, hydrate};
use panaversity_client::ingest::{IngestOptions, IngestReport, ingest};
use panaversity_client::{Client, SyncError};
use panaversity_fs::HttpServer;
use tempfile::TempDir;

use crate::author::Author;
use crate::faulty_proxy::FaultyProxy;

/// The book that most tests write.
pub(crate) const BOOK: &str = "ai-python";
/// Where the links of the server say that it is; nobody gets there, so a client has to ask for them
/// where it reaches the server.
const PUBLIC_URL: &str = "https://nowhere.invalid/fs";

/// A running server; dropping it ends it.
pub(crate) struct TestServer {
    /// What the client reaches.
    pub(crate) proxy: FaultyProxy,
    /// Somebody else, who writes books past the proxy.
    pub(crate) author: Author,
    client: Client,
    _server: HttpServer,
    _storage: TempDir,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with more settings, named as in the environment.
    pub(crate) async fn start_with(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("panaversity-test-").tempdir().unwrap();
        let (database, storage) = (folder.path().join("journal.db"), folder.path().join("storage"));
        let database = format!("sqlite:{}", database.display());
        let mut settings = vec![
            ("DATABASE_URL", database.as_str()),
            ("PANAVERSITY_STORAGE_ROOT", storage.to_str().unwrap()),
            ("PANAVERSITY_SERVER_PORT", "0"),
            ("PANAVERSITY_PUBLIC_URL", PUBLIC_URL),
        ];
        settings.extend_from_slice(more);
        let server = HttpServer::start(&settings).await.unwrap_or_else(|failure| panic!("{failure}"));
        let author = Author::new(server.address(), storage);
        let proxy = FaultyProxy::start(author.clone()).await;
        let client = Client::new(proxy.url(), "test").unwrap();
        Self { proxy, author, client, _server: server, _storage: folder }
    }

    pub(crate) async fn hydrate(&self, options: &HydrateOptions) -> Result<HydrateReport, SyncError> {
        hydrate(&self.client, options).await
    }

    pub(crate) async fn ingest(&self, options: &IngestOptions) -> Result<IngestReport, SyncError> {
        ingest(&self.client, options).await
    }
}
