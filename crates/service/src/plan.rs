//! `plan_build`: what a build must fetch to go from the state it has to the state the book has
//! now. What a plan names stays readable by hash while its manifest is kept, so a build fetched
//! while agents write is exactly that state.

use std::sync::Arc;

use panaversity_model::manifest::{Difference, Manifest};
use panaversity_model::{BookId, ContentHash, Error, Refusal};

use crate::service::Service;

/// Most files on a page.
pub const PAGE_FILES: usize = 1_000;

/// Where a plan goes on: the plan's manifest, and the last path seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanPosition {
    /// The manifest the plan is for.
    pub manifest: ContentHash,
    /// The last path of the page before.
    pub path: String,
}

/// What differs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The hash of the book's manifest.
    pub manifest: ContentHash,
    /// This page of what differs, in path order.
    pub files: Vec<Difference>,
    /// How many files differ in all.
    pub changed: usize,
    /// How many files the book has.
    pub total: usize,
    /// The target manifest is not known (any more): all files are listed.
    pub target_unknown: bool,
    /// Where the next page goes on.
    pub next: Option<PlanPosition>,
}

impl Service {
    /// Plans a build from `target` to the book's state, or goes on with a plan.
    pub async fn plan_build(
        &self,
        book: &BookId,
        target: Option<ContentHash>,
        after: Option<PlanPosition>,
    ) -> Result<Plan, Error> {
        let (hash, current) = self.planned(book, after.as_ref()).await?;
        let unchanged = target == Some(hash);
        let known = match target {
            Some(target) if !unchanged => self.kept(book, target).await?,
            _ => None,
        };
        let target_unknown = target.is_some() && !unchanged && known.is_none();
        let all = if unchanged { Vec::new() } else { current.differences(&known.unwrap_or_default()) };
        let changed = all.len();
        let past = |path: &str| after.as_ref().is_none_or(|after| path > after.path.as_str());
        let mut files: Vec<_> = all.into_iter().filter(|file| past(&file.path)).collect();
        let more = files.len() > PAGE_FILES;
        files.truncate(PAGE_FILES);
        let next = if more {
            files.last().map(|file| PlanPosition { manifest: hash, path: file.path.clone() })
        } else {
            None
        };
        Ok(Plan { manifest: hash, files, changed, total: current.files.len(), target_unknown, next })
    }

    /// The manifest that is planned: the book's, kept before it is named, or the one that a plan
    /// under way has named.
    async fn planned(
        &self,
        book: &BookId,
        after: Option<&PlanPosition>,
    ) -> Result<(ContentHash, Arc<Manifest>), Error> {
        let now = self.manifest(book).await?;
        match after {
            Some(after) if after.manifest != now.hash => {
                let kept = self.kept(book, after.manifest).await?;
                let kept = kept
                    .ok_or_else(|| Refusal::argument("cursor", "its plan is no longer kept: plan again"))?;
                Ok((after.manifest, kept))
            }
            _ => {
                self.keep(book, now.hash, &now.manifest).await?;
                Ok((now.hash, now.manifest))
            }
        }
    }
}
