//! Files of a view, from the cached manifests of its layers. Keeps R5: only the layers of the view are
//! read.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use panaversity_model::manifest::{Item, Manifest};
use panaversity_model::path::Prefix;
use panaversity_model::{BookId, BookPath, Fault, Layer, View};

use crate::service::Service;

/// Manifests of the layers of a view. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ViewFiles {
    base: Arc<Manifest>,
    own: Arc<Manifest>,
}

impl ViewFiles {
    /// True if the view shows no file.
    pub(crate) fn is_empty(&self) -> bool {
        self.base.files.is_empty() && self.own.files.is_empty()
    }

    /// Files that begin with `prefix`, in path order, after `after`. For a path in both layers, the
    /// overlay's file takes precedence.
    pub(crate) fn below<'a>(
        &'a self,
        prefix: &Prefix,
        after: Option<&BookPath>,
    ) -> impl Iterator<Item = (&'a str, &'a Item)> + use<'a> {
        let (from, to) = prefix.range();
        let start = match after {
            Some(after) if after.as_str() >= from => Bound::Excluded(after.as_str()),
            _ => Bound::Included(from),
        };
        let layer = |manifest: &'a Manifest| {
            manifest
                .files
                .range::<str, _>((start, Bound::Unbounded))
                .map(|(path, item)| (path.as_str(), item))
        };
        let merged = Merged { base: layer(&self.base).peekable(), own: layer(&self.own).peekable() };
        merged.take_while(move |(path, _)| to.as_deref().is_none_or(|to| *path < to))
    }
}

/// Two lists in path order as one.
struct Merged<A: Iterator, B: Iterator> {
    base: Peekable<A>,
    own: Peekable<B>,
}

impl<'a, A, B> Iterator for Merged<A, B>
where
    A: Iterator<Item = (&'a str, &'a Item)>,
    B: Iterator<Item = (&'a str, &'a Item)>,
{
    type Item = (&'a str, &'a Item);

    fn next(&mut self) -> Option<Self::Item> {
        let order = match (self.base.peek(), self.own.peek()) {
            (Some((base, _)), Some((own, _))) => base.cmp(own),
            (_, None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        if order == Ordering::Equal {
            self.base.next();
        }
        if order == Ordering::Less { self.base.next() } else { self.own.next() }
    }
}

impl Service {
    /// The files of a view of a book; `None`: they are too many for the cache, and must be read page by
    /// page.
    pub(crate) async fn view_files(&self, book: &BookId, view: &View) -> Result<Option<ViewFiles>, Fault> {
        let own = match view.top() {
            Layer::Base => Some(Arc::default()),
            own @ Layer::Overlay(_) => self.layer_files(book, own).await?,
        };
        let base = self.layer_files(book, &Layer::Base).await?;
        Ok(base.zip(own).map(|(base, own)| ViewFiles { base, own }))
    }
}

/// Parses a path as a manifest has it.
pub(crate) fn stored_path(path: &str) -> Result<BookPath, Fault> {
    BookPath::parse(path).map_err(|refusal| Fault::internal(format!("`{path}` is stored: {refusal}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use panaversity_model::ContentHash;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn layer(paths: &[String], text: &str) -> Arc<Manifest> {
        let item = Item { hash: ContentHash::of(text.as_bytes()), size: 1, version: 1 };
        Arc::new(Manifest { files: paths.iter().map(|path| (path.clone(), item)).collect() })
    }

    proptest! {
        #[test]
        fn r5_the_files_of_a_view_are_the_base_with_the_overlay_above_it(
            base in prop::collection::vec("[ab]{1,3}", 0..8),
            own in prop::collection::vec("[ab]{1,3}", 0..8),
            prefix in "[ab]{0,2}",
            after in prop::option::of("[ab]{1,3}"),
        ) {
            let files = ViewFiles { base: layer(&base, "base"), own: layer(&own, "own") };
            let mut due: BTreeMap<_, _> = base.iter().map(|path| (path.as_str(), "base")).collect();
            due.extend(own.iter().map(|path| (path.as_str(), "own")));
            due.retain(|path, _| path.starts_with(&prefix) && after.as_deref().is_none_or(|after| *path > after));
            let due: Vec<_> =
                due.into_iter().map(|(path, text)| (path, ContentHash::of(text.as_bytes()))).collect();
            let after = after.map(|after| BookPath::parse(&after).unwrap());
            let found = files.below(&Prefix::parse(&prefix).unwrap(), after.as_ref());
            prop_assert_eq!(found.map(|(path, item)| (path, item.hash)).collect::<Vec<_>>(), due);
        }
    }
}
