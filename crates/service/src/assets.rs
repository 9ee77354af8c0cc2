//! `get_asset` and `list_assets`, for assets and for files beside pages. They are files of the base.

use std::ops::Range;

use panaversity_model::asset::{Asset, AssetType};
use panaversity_model::blob::StoredBlob;
use panaversity_model::fault::FaultKind;
use panaversity_model::file::Found;
use panaversity_model::path::Folder;
use panaversity_model::ports::ByteStream;
use panaversity_model::{BookId, BookPath, ContentHash, Error, Fault, Refusal, View};

use crate::authorize::ReadAccess;
use crate::call::Call;
use crate::service::Service;

/// Most assets on a page.
pub const PAGE_ASSETS: usize = 500;
/// Files fetched in one statement: most files below `content/` are pages, which are no assets.
const FETCHED_AT_ONCE: usize = 2_000;
/// Most attempts to read an asset that is replaced during the read.
const READ_AGAIN: usize = 10;

/// A page of assets in path order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetPage {
    /// The assets.
    pub assets: Vec<Asset>,
    /// Last path of this page, after which the next page starts.
    pub next: Option<BookPath>,
}

/// An asset whose bytes can be read as a whole.
#[derive(Debug, Clone)]
pub struct FoundAsset {
    /// The asset.
    pub asset: Asset,
    stored: StoredBlob,
}

impl Call {
    /// Refuses bytes that are too many for a call or its answer.
    pub fn check_direct(&self, what: &'static str, size: u64) -> Result<(), Refusal> {
        match self.service.inner.limits.direct_bytes {
            limit if size > limit => Err(Refusal::TooLarge { what, actual: size, limit }),
            _ => Ok(()),
        }
    }

    /// Finds an asset.
    pub async fn get_asset(&self, access: &ReadAccess, path: &BookPath) -> Result<Asset, Error> {
        match self.service.inner.journal.asset(access.book(), path).await? {
            Some(asset) => Ok(asset),
            None => Err(self.no_asset(access, path).await),
        }
    }

    /// Finds an asset whose bytes are to be read, and are few enough for an answer.
    pub async fn find_asset(&self, access: &ReadAccess, path: &BookPath) -> Result<FoundAsset, Error> {
        let found = self.service.inner.journal.find_asset(access.book(), path).await?;
        let Some((asset, stored)) = found else {
            return Err(self.no_asset(access, path).await);
        };
        self.check_direct("the asset", asset.record.size)?;
        Ok(FoundAsset { asset, stored })
    }

    /// The bytes of a found asset. One that was replaced, and its bytes purged, is found again.
    pub async fn asset_bytes(
        &self,
        access: &ReadAccess,
        mut found: FoundAsset,
    ) -> Result<(Asset, Vec<u8>), Error> {
        for _ in 0..READ_AGAIN {
            if let Some(bytes) = self.service.bytes_of(&found.stored).await? {
                return Ok((found.asset, bytes));
            }
            found = self.find_asset(access, &found.asset.record.path).await?;
        }
        Err(Fault::new(FaultKind::Timeout, "the asset changed again and again while it was read").into())
    }

    async fn no_asset(&self, access: &ReadAccess, path: &BookPath) -> Error {
        self.missing(access, path, None).await.map_or_else(Error::from, Error::from)
    }

    /// A page of the assets of a book, of all types or of one.
    pub async fn list_assets(
        &self,
        access: &ReadAccess,
        kind: Option<AssetType>,
        after: Option<BookPath>,
    ) -> Result<AssetPage, Error> {
        let (book, is_first) = (access.book(), after.is_none());
        let folder = kind.map_or_else(Folder::everything, AssetType::folder);
        let is_meant = |path: &BookPath| match kind {
            Some(kind) => kind.lists(path),
            None => !path.is_page(),
        };
        let (mut assets, mut position) = (Vec::new(), after);
        loop {
            let page =
                self.service.inner.journal.assets(book, &folder, position.as_ref(), FETCHED_AT_ONCE).await?;
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
                    self.service.require_book(book).await?;
                }
                return Ok(AssetPage { assets, next: None });
            }
        }
    }

    /// Finds the current file of a view for reading by ranges.
    pub async fn find_current(&self, access: &ReadAccess, path: &BookPath) -> Result<Found, Error> {
        match self.service.inner.journal.find(access.book(), path, &access.view()).await? {
            Some(found) => Ok(found),
            None => Err(self.no_asset(access, path).await),
        }
    }

    /// Finds a version of a file of one layer for reading by ranges; `None` for any other hash.
    pub async fn open_version(
        &self,
        access: &ReadAccess,
        path: &BookPath,
        hash: ContentHash,
    ) -> Result<Option<Found>, Fault> {
        let journal = &self.service.inner.journal;
        let found = journal.find_version(access.book(), path, &access.view(), hash).await?;
        Ok(found.filter(|found| found.record.layer == *access.layer()))
    }
}

impl Service {
    /// Finds an asset of the base for reading by ranges.
    pub async fn open_asset(&self, book: &BookId, path: &BookPath) -> Result<Option<Found>, Fault> {
        self.inner.journal.find(book, path, &View::base()).await
    }

    /// The checked bytes of a range of a found file, part by part.
    pub fn asset_parts(&self, asset: Found, range: Range<u64>) -> ByteStream {
        self.parts_of(asset.blob, range)
    }
}
