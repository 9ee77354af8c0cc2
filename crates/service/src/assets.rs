//! `upload_asset` with the bytes at hand, `get_asset` and `list_assets`, for assets and for files
//! beside pages. They are files of the base: the one commit protocol writes them, so R2, I8 and I9
//! hold for them as for pages.

use panaversity_model::asset::{Asset, AssetType};
use panaversity_model::blob::StoredBlob;
use panaversity_model::fault::FaultKind;
use panaversity_model::file::FileRecord;
use panaversity_model::path::Folder;
use panaversity_model::ports::Parts;
use panaversity_model::precondition::{Effect, TargetContent};
use panaversity_model::publication::FileKey;
use panaversity_model::{BookId, BookPath, ContentHash, Error, Fault, Layer, Refusal, View};
use std::ops::Range;

use crate::call::Call;
use crate::commit::{FileChange, NewContent};
use crate::read::ReadFile;
use crate::service::Service;
use crate::spool::check_page;

/// Most assets on a page.
pub const PAGE_ASSETS: usize = 500;
/// Files fetched at once: most of those below `content/` are pages, which are no assets.
const FETCHED_AT_ONCE: usize = 2_000;
/// How often an asset is read anew that was replaced while it was read.
const READ_AGAIN: usize = 10;

/// An asset as a caller wants it, its bytes at hand.
#[derive(Debug, Clone)]
pub struct PutAsset {
    /// The book; created with the schema `strict` if it does not exist.
    pub book: BookId,
    /// The asset.
    pub path: BookPath,
    /// Its bytes, at most as many as the limits say.
    pub bytes: Vec<u8>,
    /// What the caller expects it to hold.
    pub expected: Option<ContentHash>,
}

/// What became of an asset, however its bytes came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetKept {
    /// The asset.
    pub path: BookPath,
    /// Created, updated, or unchanged: it held these bytes already.
    pub effect: Effect,
    /// Bytes.
    pub size: u64,
    /// The hash it was given, or had.
    pub hash: ContentHash,
}

/// A page of assets in path order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetPage {
    /// The assets.
    pub assets: Vec<Asset>,
    /// The path after which the next page goes on.
    pub next: Option<BookPath>,
}

/// An asset that can be read by ranges.
#[derive(Debug, Clone)]
pub struct OpenAsset {
    /// Its row.
    pub record: FileRecord,
    blob: StoredBlob,
}

impl Service {
    /// Writes the asset or refuses.
    pub async fn put_asset(&self, call: &mut Call, put: PutAsset) -> Result<AssetKept, Error> {
        let (hash, size) = (ContentHash::of(&put.bytes), put.bytes.len() as u64);
        self.check_direct("binary_data", size)?;
        check_page(&put.path, &put.bytes)?;
        let content = TargetContent::Present(NewContent::Bytes(put.bytes));
        let wanted = vec![FileChange { path: put.path.clone(), content, expected: put.expected }];
        let done = self.change(call, &put.book, &Layer::Base, wanted).await?;
        let effect = done.first().map_or(Effect::Unchanged, |done| done.effect);
        Ok(AssetKept { path: put.path, effect, size, hash })
    }

    /// Refuses what is too large to come or go inside a call.
    pub fn check_direct(&self, what: &'static str, size: u64) -> Result<(), Refusal> {
        match self.inner.limits.direct_bytes {
            limit if size > limit => Err(Refusal::TooLarge { what, actual: size, limit }),
            _ => Ok(()),
        }
    }

    /// Finds an asset, with its bytes if they are asked for and may go inside a call.
    pub async fn get_asset(
        &self,
        book: &BookId,
        path: &BookPath,
        with_bytes: bool,
    ) -> Result<(Asset, Option<Vec<u8>>), Error> {
        let journal = &self.inner.journal;
        for _ in 0..READ_AGAIN {
            let Some(asset) = journal.asset(book, path).await? else {
                let (book, path, view) = (book.clone(), path.clone(), View::base());
                let read = ReadFile { book, path, view, version: None, unless: None };
                return Err(self.missing(&read).await?.into());
            };
            if !with_bytes {
                return Ok((asset, None));
            }
            self.check_direct("the asset", asset.record.size)?;
            let stored = journal.blobs(&[asset.record.hash]).await?;
            // One that was replaced and let go meanwhile is looked up again.
            if let Some(stored) = stored.first()
                && let Some(bytes) = self.bytes_of(stored).await?
            {
                return Ok((asset, Some(bytes)));
            }
        }
        Err(Fault::new(FaultKind::Timeout, "the asset changed again and again while it was read").into())
    }

    /// A page of the assets of a book, of all types or of one.
    pub async fn list_assets(
        &self,
        book: &BookId,
        kind: Option<AssetType>,
        after: Option<BookPath>,
    ) -> Result<AssetPage, Error> {
        let is_first = after.is_none();
        let folder = kind.map_or_else(Folder::everything, AssetType::folder);
        let is_meant = |path: &BookPath| match kind {
            Some(kind) => kind.lists(path),
            None => !path.is_page(),
        };
        let (mut assets, mut position) = (Vec::new(), after);
        loop {
            let page = self.inner.journal.assets(book, &folder, position.as_ref(), FETCHED_AT_ONCE).await?;
            let is_last = page.len() < FETCHED_AT_ONCE;
            for asset in page {
                let path = asset.record.path.clone();
                if is_meant(&path) {
                    if assets.len() == PAGE_ASSETS {
                        return Ok(AssetPage { assets, next: position });
                    }
                    assets.push(asset);
                }
                position = Some(path);
            }
            if is_last {
                if assets.is_empty() && is_first {
                    self.require_book(book).await?;
                }
                return Ok(AssetPage { assets, next: None });
            }
        }
    }

    /// Finds a version of a file of one layer, to be read by ranges; any other hash finds nothing.
    pub async fn open_version(&self, key: &FileKey, hash: ContentHash) -> Result<Option<OpenAsset>, Fault> {
        let view = key.layer.view();
        let found = self.inner.journal.find_version(&key.book, &key.path, &view, hash).await?;
        let found = found.filter(|found| found.record.layer == key.layer);
        Ok(found.map(|found| OpenAsset { record: found.record, blob: found.blob }))
    }

    /// Finds an asset of the base, to be read by ranges.
    pub async fn open_asset(&self, book: &BookId, path: &BookPath) -> Result<Option<OpenAsset>, Fault> {
        let found = self.inner.journal.find(book, path, &View::base()).await?;
        Ok(found.map(|found| OpenAsset { record: found.record, blob: found.blob }))
    }

    /// The checked bytes of a range of it, part by part.
    pub fn asset_parts(&self, asset: OpenAsset, range: Range<u64>) -> Parts {
        Box::new(self.parts_of(asset.blob, range))
    }
}
