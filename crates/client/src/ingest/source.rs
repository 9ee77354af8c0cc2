//! Walk of a source folder, of pages or of assets. Invariant: every entry of the folder is either a
//! file to compare or reported as refused, failed or skipped; nothing is dropped silently.
//!
//! Hidden files and folders are skipped. A hidden asset may be needed by the site (`.nojekyll`,
//! `.well-known/`): it is accepted if the schema admits it, unless its name is one that desktops
//! and Git create.
//!
//! Names in NFD, as macOS returns them, are normalized to NFC, the form of book paths. A warning
//! reports that, names that Windows can't unpack, and pointers of Git LFS in place of files.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use panaversity_model::file::may_be_text;
use panaversity_model::{BookPath, Refusal, Schema};
use unicode_normalization::UnicodeNormalization;
use walkdir::{DirEntry, WalkDir};

use super::BookPart;
use crate::report::Problem;
use crate::sync::book_name;

/// A file whose path the book admits.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    pub(super) path: BookPath,
    pub(super) file: PathBuf,
    pub(super) size: u64,
}

/// Result of the walk, in path order.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) files: Vec<SourceFile>,
    pub(super) refused: Vec<Problem>,
    pub(super) failed: Vec<Problem>,
    pub(super) skipped: Vec<Problem>,
    /// Warnings about accepted files.
    pub(super) warnings: Vec<Problem>,
}

/// Prefixes of hidden files that are never assets.
const LEFT_BEHIND: [&[u8]; 3] = [b".DS_Store", b".git", b"._"];
/// First line of a Git LFS pointer, and its largest size in bytes (Git LFS specification).
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1";
const LFS_POINTER_BYTES: u64 = 1024;

impl Walked {
    /// Returns true if there is no file at all, not even a refused one.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.refused.is_empty() && self.failed.is_empty()
    }

    /// Predicate that a path exists in the folder, whatever its outcome. A folder that was skipped,
    /// or could not be read, may contain it.
    pub(super) fn may_hold(&self) -> impl Fn(&str) -> bool {
        let files: HashSet<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        let problems = self.refused.iter().chain(&self.failed).chain(&self.skipped);
        let unsent: HashSet<&str> = problems.map(|problem| problem.path.as_str()).collect();
        move |path| {
            files.contains(path)
                || unsent.contains(path)
                || path.match_indices('/').any(|(end, _)| unsent.contains(&path[..end]))
        }
    }
}

/// Walks the folder and classifies every path in it.
pub(super) fn walk(source: &Path, part: BookPart, schema: Schema) -> Walked {
    let mut walked = Walked::default();
    let mut folded: HashMap<String, String> = HashMap::new();
    let mut entries = WalkDir::new(source).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let name = book_name(source, part.folder(), error.path().unwrap_or(source));
                walked.failed.push(Problem::new(name, io_reason(error.io_error())));
                continue;
            }
        };
        let given = book_name(source, part.folder(), entry.path());
        let name: String = given.nfc().collect();
        if let Some(why) = skipped_because(&entry, &name, part, schema) {
            walked.skipped.push(Problem::new(name, why));
            if entry.file_type().is_dir() {
                entries.skip_current_dir();
            }
        } else if entry.file_type().is_file() {
            match admit(&entry, &name, schema, &mut folded) {
                Ok(file) => {
                    walked.warnings.extend(warnings(&file, given != name));
                    walked.files.push(file);
                }
                Err(problem) => walked.refused.push(problem),
            }
        }
    }
    walked
}

fn skipped_because(entry: &DirEntry, name: &str, part: BookPart, schema: Schema) -> Option<&'static str> {
    let (kind, file_name) = (entry.file_type(), entry.file_name().as_encoded_bytes());
    let may_be_asset =
        part == BookPart::Assets && !LEFT_BEHIND.iter().any(|beginning| file_name.starts_with(beginning));
    let is_asset = may_be_asset
        && if kind.is_dir() {
            schema == Schema::Docusaurus
        } else {
            kind.is_file() && BookPath::parse(name).is_ok_and(|path| schema.admit(&path).is_ok())
        };
    if file_name.starts_with(b".") && !is_asset {
        Some("hidden")
    } else if kind.is_symlink() {
        Some("a link; put the file itself there")
    } else if !kind.is_file() && !kind.is_dir() {
        Some("not a regular file")
    } else {
        None
    }
}

fn admit(
    entry: &DirEntry,
    name: &str,
    schema: Schema,
    folded: &mut HashMap<String, String>,
) -> Result<SourceFile, Problem> {
    if entry.path().to_str().is_none() {
        return Err(Problem::new(name, "the name is not UTF-8; rename it"));
    }
    let path =
        BookPath::parse(name).and_then(|path| schema.admit(&path).map(|()| path)).map_err(|refusal| {
            let reason = refusal.to_string();
            let suggestion = match refusal {
                Refusal::SchemaViolation { suggestion, .. } => suggestion,
                _ => None,
            };
            Problem { path: name.to_owned(), reason, suggestion }
        })?;
    let size = entry.metadata().map_err(|error| Problem::new(name, io_reason(error.io_error())))?.len();
    if let Some(first) = folded.insert(path.folded(), name.to_owned()) {
        let reason = if first == name {
            "two files have this name and differ only in how its letters are composed (NFC and NFD); rename one"
                .to_owned()
        } else {
            format!("it differs only by case from {first}; rename one of the two")
        };
        folded.insert(path.folded(), first);
        return Err(Problem::new(name, reason));
    }
    Ok(SourceFile { path, file: entry.path().to_owned(), size })
}

/// Warnings about an accepted file.
fn warnings(file: &SourceFile, was_nfd: bool) -> Vec<Problem> {
    let mut odd = Vec::new();
    if was_nfd {
        odd.push(
            "its name is not in Unicode NFC (macOS gives names in NFD); the book has it in NFC".to_owned(),
        );
    }
    if let Some(device) = file.path.windows_device() {
        odd.push(format!("Windows can't unpack `{device}`: there it names a device"));
    }
    if is_lfs_pointer(file) {
        odd.push("it is a Git LFS pointer, not the file: run `git lfs pull`, then ingest again".to_owned());
    }
    odd.into_iter().map(|why| Problem::new(file.path.as_str(), why)).collect()
}

/// Returns true for a Git LFS pointer. A file that can't be read fails later, when it is sent.
fn is_lfs_pointer(file: &SourceFile) -> bool {
    let may_be = (LFS_POINTER.len() as u64..=LFS_POINTER_BYTES).contains(&file.size);
    may_be && std::fs::read(&file.file).is_ok_and(|bytes| bytes.starts_with(LFS_POINTER))
}

/// The text of a file to write; `None` if it is not text and must be uploaded.
pub(super) fn read_text(source: &SourceFile) -> Result<Option<String>, ReadError> {
    if !may_be_text(&source.path, source.size) {
        return Ok(None);
    }
    let bytes = std::fs::read(&source.file).map_err(|error| ReadError::Failed(io_reason(Some(&error))))?;
    if !may_be_text(&source.path, bytes.len() as u64) {
        return Ok(None);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) if source.path.is_page() => {
            let at = error.utf8_error().valid_up_to();
            Err(ReadError::ServerError(format!("not UTF-8 at byte {at}; convert it to UTF-8")))
        }
        Err(_) => Ok(None),
    }
}

/// Reason why a file cannot be sent.
pub(super) enum ReadError {
    ServerError(String),
    Failed(String),
}

pub(super) fn io_reason(error: Option<&std::io::Error>) -> String {
    error.map_or_else(|| "cannot be read".to_owned(), |error| format!("cannot be read: {error}"))
}
