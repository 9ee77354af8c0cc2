//! Reading a workspace: its folders, Rust files, manifests and migrations.

use std::fs;
use std::path::{Path, PathBuf};

const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Kind and package name of each dependency in a `Cargo.toml`, renamed ones by their real name.
pub(crate) fn dependencies(manifest: &str) -> Vec<(&'static str, String)> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    let mut section = None;
    let mut in_table = false;
    for line in manifest.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()) {
        if let Some(header) = line.strip_prefix('[') {
            let parts: Vec<&str> = header.trim_end_matches(']').split('.').map(str::trim).collect();
            let at = parts.iter().position(|part| KINDS.contains(part));
            section = at.and_then(|at| KINDS.into_iter().find(|kind| *kind == parts[at]));
            let table = at.and_then(|at| parts.get(at + 1));
            in_table = table.is_some();
            if let (Some(kind), Some(table)) = (section, table) {
                found.push((kind, table.trim_matches(['"', '\'']).to_owned()));
            }
            continue;
        }
        let Some(kind) = section.filter(|_| !line.is_empty() && !line.starts_with('#')) else { continue };
        if !in_table {
            let end = line.find([' ', '.', '=']).unwrap_or(line.len());
            found.push((kind, line[..end].trim_matches(['"', '\'']).to_owned()));
        }
        if let Some(real) = renamed(line, in_table) {
            found.push((kind, real));
        }
    }
    found
}

/// The value of `package = "..."`, in a table of its own or inline.
fn renamed(line: &str, in_table: bool) -> Option<String> {
    let (before, after) = line.split_once("package")?;
    let is_key = if in_table { before.is_empty() } else { before.trim_end().ends_with(['{', ',']) };
    let value = after.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"')?;
    is_key.then(|| value.split('"').next().unwrap_or_default().to_owned())
}

/// `NNNN_name` of a migration file.
pub(crate) fn step(file: &str) -> Option<String> {
    let step = file.strip_suffix(".up.sql").or_else(|| file.strip_suffix(".down.sql"))?;
    let (number, name) = step.split_once('_')?;
    let numbered = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
    let named =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    (numbered && named).then(|| step.to_owned())
}

pub(crate) fn rust_files(root: &Path, below: &[&str]) -> Vec<PathBuf> {
    let crates = folders(&root.join("crates"));
    let mut found: Vec<PathBuf> = crates
        .iter()
        .flat_map(|folder| below.iter().map(move |part| folder.join(part)))
        .flat_map(|folder| files_below(&folder))
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .collect();
    found.sort();
    found
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = files(folder);
    for inner in folders(folder) {
        found.extend(files_below(&inner));
    }
    found
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_file()).collect()
}

pub(crate) fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_dir() && name(path) != "target").collect()
}

/// What lies in a folder, by name; nothing where there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

pub(crate) fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

pub(crate) fn shown(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned()
}
