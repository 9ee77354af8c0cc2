//! `plan_build`: the files that a build must fetch to get from its state to the book's current state.
//! Versions named by a plan stay readable by hash while its manifest is kept, so a build fetched during
//! concurrent writes is exactly that state.

use std::sync::Arc;

use panaversity_model::manifest::{Difference, Manifest};
use panaversity_model::{BookId, ContentHash, Error, Refusal};

use crate::authorize::ReadAccess;
use crate::call::Call;
use crate::service::Service;

/// Most files on a page.
pub const PAGE_FILES: usize = 1_000;

/// Position at which a plan continues: its manifest, and the last path listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanPosition {
    /// Hash of the plan's manifest.
    pub manifest: ContentHash,
    /// The last path of the previous page.
    pub path: String,
}

/// A page of a plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Hash of the book's manifest.
    pub manifest: ContentHash,
    /// Differing files of this page, in path order.
    pub files: Vec<Difference>,
    /// Number of differing files in all.
    pub changed: usize,
    /// Number of files of the book.
    pub total: usize,
    /// True if the target manifest is unknown or no longer kept: then all files are listed.
    pub target_unknown: bool,
    /// Position of the next page.
    pub next: Option<PlanPosition>,
}

impl Call {
    /// Plans a build from `target` to the book's current state, or continues a plan.
    pub async fn plan_build(
        &self,
        access: &ReadAccess,
        target: Option<ContentHash>,
        after: Option<PlanPosition>,
    ) -> Result<Plan, Error> {
        let book = access.book();
        let (hash, current) = self.service.planned(book, after.as_ref()).await?;
        let unchanged = target == Some(hash);
        let known = match target {
            Some(target) if !unchanged => self.service.kept(book, target).await?,
            _ => None,
        };
        let target_unknown = target.is_some() && !unchanged && known.is_none();
        let (mut changed, mut files) = (0, Vec::new());
        if !unchanged {
            let (known, past) = (known.unwrap_or_default(), after.as_ref().map_or("", |after| &after.path));
            changed = current.count_differences(&known);
            files.extend(current.differences_after(&known, past).take(PAGE_FILES + 1));
        }
        let more = files.len() > PAGE_FILES;
        files.truncate(PAGE_FILES);
        let next = if more {
            files.last().map(|file| PlanPosition { manifest: hash, path: file.path.clone() })
        } else {
            None
        };
        Ok(Plan { manifest: hash, files, changed, total: current.files.len(), target_unknown, next })
    }
}

impl Service {
    /// The manifest of the plan: the book's current one, kept before it is returned, or for a continued
    /// plan the one it names.
    async fn planned(
        &self,
        book: &BookId,
        after: Option<&PlanPosition>,
    ) -> Result<(ContentHash, Arc<Manifest>), Error> {
        if let Some(PlanPosition { manifest, .. }) = after {
            self.require_book(book).await?;
            let kept = self.kept(book, *manifest).await?;
            let kept =
                kept.ok_or_else(|| Refusal::argument("cursor", "its plan is no longer kept: plan again"))?;
            return Ok((*manifest, kept));
        }
        let now = self.manifest(book).await?;
        self.keep(book, now.hash, &now.manifest).await?;
        Ok((now.hash, now.manifest))
    }
}
