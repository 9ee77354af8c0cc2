//! Uploads in the bucket, which mostly bypass this server: clients put them to a presigned URL. The
//! signature binds key, media type and time, but it cannot bind the length, so a reader of an upload
//! compares its size first.

use async_trait::async_trait;
use panaversity_model::Fault;
use panaversity_model::ids::UploadId;
use panaversity_model::ports::{ByteStream, PageStream, UploadStore, UploadWriter};
use panaversity_model::upload::{Permit, SignedPut, UploadEntry};

use super::listing::{is_asked_for_as_it_is, list};
use super::multipart::MultipartWriter;
use super::{S3Storage, absent_is_none};
use crate::keys;

#[async_trait]
impl UploadStore for S3Storage {
    async fn presign(&self, id: UploadId, permit: &Permit) -> Result<Option<SignedPut>, Fault> {
        let key = keys::upload(id);
        let signed = self.operators.retrying.presign_write_with(&key, permit.valid_for);
        let signed =
            self.repeatable("sign a URL", signed.content_type(permit.media_type).into_future()).await?;
        let headers = signed.header().iter().map(|(name, value)| {
            let value = value.to_str().map_err(|_| Fault::internal("sign a URL: a header is no text"))?;
            Ok((name.to_string(), value.to_owned()))
        });
        Ok(Some(SignedPut { url: signed.uri().to_string(), headers: headers.collect::<Result<_, Fault>>()? }))
    }

    async fn receive(&self, id: UploadId) -> Result<Box<dyn UploadWriter>, Fault> {
        Ok(Box::new(MultipartWriter::begin(self, "receive an upload", keys::upload(id), None).await?))
    }

    async fn arrived(&self, id: UploadId) -> Result<Option<u64>, Fault> {
        let key = keys::upload(id);
        let found = absent_is_none(self.operators.retrying.stat(&key));
        Ok(self.repeatable("look for an upload", found).await?.map(|found| found.content_length()))
    }

    async fn open(&self, id: UploadId) -> Result<Option<ByteStream>, Fault> {
        let (what, key) = ("read an upload", keys::upload(id));
        let found = absent_is_none(self.operators.retrying.stat(&key));
        let Some(found) = self.repeatable(what, found).await? else { return Ok(None) };
        self.stream(what, key, found.etag()).await
    }

    async fn discard(&self, id: UploadId) -> Result<(), Fault> {
        let key = keys::upload(id);
        self.repeatable("discard an upload", self.operators.retrying.delete(&key)).await
    }

    fn list_arrived(&self) -> PageStream<UploadEntry> {
        let prefixes = [keys::UPLOADS, keys::STAGING].map(|folder| format!("{folder}/"));
        list(self, prefixes.into())
    }

    async fn sweep(&self, seen: &UploadEntry) -> Result<(), Fault> {
        let key = keys::leftover(&seen.name).filter(|key| is_asked_for_as_it_is(key));
        let Some(key) = key else { return Ok(()) };
        self.repeatable("sweep an upload", self.operators.retrying.delete(&key)).await
    }
}
