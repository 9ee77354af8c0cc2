//! Uploads in the folder. They are received by this server, because a folder has no URL. Keeps I9 for
//! them: the sender receives an acknowledgement, so the upload survives a power cut. Its name without
//! its bytes would go unnoticed where no hash was announced.

use async_trait::async_trait;
use panaversity_model::Fault;
use panaversity_model::ids::UploadId;
use panaversity_model::ports::{ByteStream, PageStream, UploadStore, UploadWriter};
use panaversity_model::upload::{Permit, SignedPut, UploadEntry};

use super::atomic_file::{AtomicFile, stream_of};
use super::listing::list;
use super::{Durable, FileStorage};
use crate::keys;

/// An upload being received.
struct ArrivedFile {
    draft: AtomicFile,
    id: UploadId,
}

#[async_trait]
impl UploadWriter for ArrivedFile {
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault> {
        self.draft.write(part.to_vec()).await
    }

    async fn finish(self: Box<Self>) -> Result<(), Fault> {
        self.draft.finish(keys::upload(self.id), Durable::Yes, None).await
    }
}

#[async_trait]
impl UploadStore for FileStorage {
    async fn presign(&self, _: UploadId, _: &Permit) -> Result<Option<SignedPut>, Fault> {
        Ok(None)
    }

    async fn receive(&self, id: UploadId) -> Result<Box<dyn UploadWriter>, Fault> {
        let draft = AtomicFile::begin(&self.inner, "receive an upload").await?;
        Ok(Box::new(ArrivedFile { draft, id }))
    }

    async fn arrived(&self, id: UploadId) -> Result<Option<u64>, Fault> {
        self.run("look for an upload", move |inner| inner.root.size(&keys::upload(id))).await
    }

    async fn open(&self, id: UploadId) -> Result<Option<ByteStream>, Fault> {
        let what = "read an upload";
        let file = self.run(what, move |inner| inner.open_regular(keys::upload(id).as_bytes())).await?;
        Ok(file.map(|file| stream_of(file, what)))
    }

    async fn discard(&self, id: UploadId) -> Result<(), Fault> {
        self.run("discard an upload", move |inner| inner.root.remove(&keys::upload(id))).await
    }

    /// Stagings are not listed: they are temporary files of this server and end with it.
    fn list_arrived(&self) -> PageStream<UploadEntry> {
        let prefix = format!("{}/", keys::leftover_name(keys::UPLOADS));
        list(self.inner.clone(), keys::UPLOADS.to_owned(), prefix)
    }

    async fn sweep(&self, seen: &UploadEntry) -> Result<(), Fault> {
        let Some(key) = keys::leftover(&seen.name) else { return Ok(()) };
        self.run("sweep an upload", move |inner| inner.root.remove(&key)).await
    }
}
