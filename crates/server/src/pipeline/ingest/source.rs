//! Walking a source folder, of pages or of assets. Invariant: every entry of the folder is either
//! a file to compare or named as refused, failed or skipped; nothing is dropped in silence.
//!
//! Hidden files and folders are skipped. Among assets a hidden file may be one that the site needs
//! (`.nojekyll`): it is taken if the schema admits it, unless its name is one that desktops and Git
//! leave behind.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use panaversity_model::file::MAX_TEXT_BYTES;
use panaversity_model::{BookPath, Refusal, Schema};
use walkdir::{DirEntry, WalkDir};

use super::super::report::Problem;
use super::Part;

/// A file whose path the book admits.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    pub(super) path: BookPath,
    pub(super) file: PathBuf,
    pub(super) size: u64,
}

/// What the folder holds, in path order.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) files: Vec<SourceFile>,
    pub(super) refused: Vec<Problem>,
    pub(super) failed: Vec<Problem>,
    pub(super) skipped: Vec<Problem>,
}

/// Hidden files that are nobody's assets begin like this.
const LEFT_BEHIND: [&[u8]; 3] = [b".DS_Store", b".git", b"._"];

impl Walked {
    /// No file at all, not even a refused one.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.refused.is_empty() && self.failed.is_empty()
    }

    /// Is there something of that path, whatever became of it? A folder that was skipped, or
    /// could not be read, may hold it.
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

/// Walks the folder and judges every path in it.
pub(super) fn walk(source: &Path, part: Part, schema: Schema) -> Walked {
    let mut walked = Walked::default();
    let mut folded: HashMap<String, String> = HashMap::new();
    let mut entries = WalkDir::new(source).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let name = book_name(source, part, error.path().unwrap_or(source));
                walked.failed.push(Problem::new(name, io_reason(error.io_error())));
                continue;
            }
        };
        let name = book_name(source, part, entry.path());
        if let Some(why) = skipped_because(&entry, &name, part, schema) {
            walked.skipped.push(Problem::new(name, why));
            if entry.file_type().is_dir() {
                entries.skip_current_dir();
            }
        } else if entry.file_type().is_file() {
            match admit(&entry, &name, part, schema, &mut folded) {
                Ok(file) => walked.files.push(file),
                Err(problem) => walked.refused.push(problem),
            }
        }
    }
    walked
}

fn skipped_because(entry: &DirEntry, name: &str, part: Part, schema: Schema) -> Option<&'static str> {
    let (kind, file_name) = (entry.file_type(), entry.file_name().as_encoded_bytes());
    let is_asset = part == Part::Assets
        && kind.is_file()
        && !LEFT_BEHIND.iter().any(|beginning| file_name.starts_with(beginning))
        && BookPath::parse(name).is_ok_and(|path| schema.admit(&path).is_ok());
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
    part: Part,
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
    if part == Part::Pages && size > MAX_TEXT_BYTES as u64 {
        return Err(Problem::new(name, too_large(size)));
    }
    if let Some(first) = folded.insert(path.folded(), name.to_owned()) {
        let reason = format!("it differs only by case from {first}; rename one of the two");
        folded.insert(path.folded(), first);
        return Err(Problem::new(name, reason));
    }
    Ok(SourceFile { path, file: entry.path().to_owned(), size })
}

/// The text of a file to write, read when its turn comes.
pub(super) fn read_text(source: &SourceFile) -> Result<String, ReadError> {
    let bytes = std::fs::read(&source.file).map_err(|error| ReadError::Failed(io_reason(Some(&error))))?;
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(ReadError::Refused(too_large(bytes.len() as u64)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ReadError::Refused(format!("not UTF-8 at byte {at}; convert it, or upload it as an asset"))
    })
}

/// Why a file cannot be sent.
pub(super) enum ReadError {
    Refused(String),
    Failed(String),
}

fn too_large(size: u64) -> String {
    format!("it has {size} bytes; the limit is {MAX_TEXT_BYTES}; split it")
}

pub(super) fn io_reason(error: Option<&std::io::Error>) -> String {
    error.map_or_else(|| "cannot be read".to_owned(), |error| format!("cannot be read: {error}"))
}

/// `DIR/x` as `content/x` or `static/x`; bytes that are not UTF-8 show as U+FFFD.
fn book_name(source: &Path, part: Part, path: &Path) -> String {
    let below = path.strip_prefix(source).unwrap_or(path);
    let segments: Vec<_> = below.iter().map(|segment| segment.to_string_lossy()).collect();
    format!("{}{}", part.folder(), segments.join("/"))
}
