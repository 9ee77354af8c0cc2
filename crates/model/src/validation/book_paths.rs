//! Paths of a book, for the targets of links: exact, by folder, and the nearest to one that is missing.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::manifest::Manifest;
use crate::path::BookPath;
use crate::suggestion::nearest_name;

/// Most files of one name, and most names of one folder, that are considered for a suggestion.
const CONSIDERED: usize = 500;

/// Indexes of all paths, made when something is missing for the first time.
struct Indexes {
    /// Paths by their case-folded form.
    by_folded: HashMap<String, String>,
    /// Paths by the case-folded form of their name.
    by_name: HashMap<String, Vec<String>>,
}

/// The paths of a book.
pub(super) struct BookPaths {
    manifest: Arc<Manifest>,
    indexes: OnceLock<Indexes>,
}

impl BookPaths {
    pub(super) fn new(manifest: Arc<Manifest>) -> Self {
        Self { manifest, indexes: OnceLock::new() }
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(super) fn has_file(&self, path: &str) -> bool {
        self.manifest.files.contains_key(path)
    }

    /// The path that differs only by case.
    pub(super) fn other_case(&self, path: &str) -> Option<&str> {
        self.indexes().by_folded.get(&folded(path)?).map(String::as_str)
    }

    /// The path nearest to a missing one: a file of the same name elsewhere, else one of a similar name in
    /// the same folder.
    pub(super) fn nearest(&self, path: &str) -> Option<&str> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let twins = folded(name).and_then(|name| self.indexes().by_name.get(&name));
        let is_telling =
            !matches!(name.to_ascii_lowercase().as_str(), "readme.md" | "index.md" | "index.mdx");
        if let Some(twins) = twins.filter(|_| is_telling) {
            let shared = |other: &&String| {
                let segments = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
                segments(path).iter().zip(segments(other)).take_while(|(a, b)| *a == b).count()
            };
            return twins.iter().max_by_key(shared).map(String::as_str);
        }
        let siblings = self.below(folder).take(CONSIDERED);
        let mut by_stem: HashMap<&str, &str> = HashMap::new();
        for path in siblings.filter(|path| path.rsplit_once('/').is_some_and(|(of, _)| of == folder)) {
            by_stem.entry(stem(path)).or_insert(path);
        }
        // Extensions would make any two pages alike.
        let near = nearest_name(stem(path), by_stem.keys().copied())?;
        by_stem.get(near).copied()
    }

    fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = format!("{folder}/");
        let paths = self.manifest.files.range(prefix.clone()..).map(|(path, _)| path.as_str());
        paths.take_while(move |path| path.starts_with(&prefix))
    }

    fn indexes(&self) -> &Indexes {
        self.indexes.get_or_init(|| {
            let mut indexes = Indexes { by_folded: HashMap::new(), by_name: HashMap::new() };
            for path in self.manifest.files.keys() {
                let Some(folded) = folded(path) else { continue };
                let name = folded.rsplit_once('/').map_or(&*folded, |(_, name)| name).to_owned();
                let twins = indexes.by_name.entry(name).or_default();
                if twins.len() < CONSIDERED {
                    twins.push(path.clone());
                }
                indexes.by_folded.insert(folded, path.clone());
            }
            indexes
        })
    }
}

fn folded(path: &str) -> Option<String> {
    BookPath::parse(path).ok().map(|path| path.folded())
}

/// Name of a file without its extension.
fn stem(path: &str) -> &str {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
