//! Spooling: receives a file's bytes part by part, in memory up to the inline limit and in a staging
//! file beyond it. Keeps R4, and that a blob's location depends on its size alone, however its bytes
//! arrive: an object small enough for the database would move there with the next ordinary write of the
//! same bytes, and the layout of every archive that contains them would change under its links.

use futures::{Stream, TryStreamExt};
use panaversity_model::blob::{Blob, BlobHasher};
use panaversity_model::hash::HashedBytes;
use panaversity_model::ports::{ByteStream, Staging};
use panaversity_model::{BookPath, ContentHash, Error, Fault, Refusal};

use crate::commit::NewContent;
use crate::service::Service;
use crate::utf8::Utf8Validator;

/// Received bytes that no file references yet.
pub(crate) enum Spooled {
    /// Small enough for the database.
    Small(HashedBytes),
    /// Written to a private staging file.
    Large(Blob, Box<dyn Staging>),
}

impl Spooled {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.as_slice().len() as u64,
            Self::Large(blob, _) => blob.size,
        }
    }

    pub(crate) fn hash(&self) -> ContentHash {
        match self {
            Self::Small(bytes) => bytes.hash(),
            Self::Large(blob, _) => blob.hash,
        }
    }
}

impl Service {
    /// Spools the parts of a file for this path: a page must be UTF-8 text.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a page that is not.
    pub(crate) async fn spool_file(
        &self,
        path: &BookPath,
        parts: &mut ByteStream,
        most: u64,
    ) -> Result<Spooled, Error> {
        if !path.is_page() {
            return Ok(self.spool(parts, most).await?);
        }
        let mut validator = Utf8Validator::default();
        let mut checked = parts.inspect_ok(|part| validator.check(part));
        let taken = self.spool(&mut checked, most).await?;
        if taken.size() <= most && !validator.is_valid() {
            return Err(page_is_no_text(path).into());
        }
        Ok(taken)
    }

    /// Reads the parts to their end and hashes them; stops as soon as there are more than `most` bytes.
    pub(crate) async fn spool(
        &self,
        parts: &mut (impl Stream<Item = Result<Vec<u8>, Fault>> + Send + Unpin),
        most: u64,
    ) -> Result<Spooled, Fault> {
        let mut first = Vec::new();
        loop {
            let Some(part) = parts.try_next().await? else {
                return Ok(Spooled::Small(HashedBytes::new(first)));
            };
            first.extend_from_slice(&part);
            if first.len() > self.inner.limits.inline_bytes {
                break;
            }
        }
        let (mut measure, mut staging) = (BlobHasher::default(), self.inner.objects.stage().await?);
        let mut part = Some(first);
        while let Some(bytes) = part {
            measure.add(&bytes);
            staging.write(&bytes).await?;
            part = if measure.size() <= most { parts.try_next().await? } else { None };
        }
        Ok(Spooled::Large(measure.finish(), staging))
    }

    /// Makes spooled bytes ready for a change: for a large blob the row is marked live, and only then
    /// the staging file promoted to its object; for a damaged blob in the reverse order (the model's
    /// `gc`).
    pub(crate) async fn stage_spooled(&self, taken: Spooled) -> Result<NewContent, Fault> {
        let (blob, staging) = match taken {
            Spooled::Small(bytes) => return Ok(NewContent::Bytes(bytes)),
            Spooled::Large(blob, staging) => (blob, staging),
        };
        if !self.is_damaged(blob.hash).await? {
            let ready = self.staging_of(&blob).await?;
            staging.promote(blob.hash).await?;
            return Ok(NewContent::Staged(blob, ready));
        }
        staging.promote(blob.hash).await?;
        let ready = self.staging_of(&blob).await?;
        if self.inner.objects.stat(blob.hash).await? != Some(blob.size) {
            return Err(Fault::storage("gc took the object away while it was put: try again"));
        }
        Ok(NewContent::Staged(blob, ready))
    }
}

/// Refuses the bytes of a page that are not UTF-8 text: no build could read them.
pub(crate) fn check_page(path: &BookPath, bytes: &[u8]) -> Result<(), Refusal> {
    if path.is_page() && std::str::from_utf8(bytes).is_err() {
        return Err(page_is_no_text(path));
    }
    Ok(())
}

fn page_is_no_text(path: &BookPath) -> Refusal {
    let why = format!("`{path}` is a page, and its bytes are no UTF-8 text: convert them to UTF-8");
    Refusal::argument("filename", why)
}
