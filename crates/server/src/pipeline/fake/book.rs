//! The book that the fake keeps: the agent contract for writing, and plans.

use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use panaversity_model::{BookPath, ContentHash, Refusal, Schema};
use serde_json::{Value, json};

/// Files by path.
pub(crate) type Files = BTreeMap<String, Bytes>;

#[derive(Default)]
pub(super) struct Book {
    pub(super) schema: Schema,
    pub(super) files: Files,
    pub(super) versions: HashMap<(String, String), Bytes>,
    pub(super) manifests: HashMap<String, Files>,
}

impl Book {
    pub(super) fn keep(&mut self, path: &str, bytes: Bytes) {
        self.versions.insert((path.to_owned(), hash(&bytes)), bytes.clone());
        self.files.insert(path.to_owned(), bytes);
    }
}

pub(super) fn hash(bytes: &[u8]) -> String {
    ContentHash::of(bytes).to_string()
}

pub(super) fn error(code: &str, message: &str) -> Value {
    json!({"code": code, "message": message, "hint": "look again"})
}

pub(super) fn change(
    book: &mut Book,
    path: &str,
    content: Option<&[u8]>,
    expected: Option<&str>,
) -> Result<Value, Value> {
    let parsed = BookPath::parse(path).map_err(|refusal| error(refusal.code(), &refusal.to_string()))?;
    book.schema.admit(&parsed).map_err(|refusal| {
        let mut value = error(refusal.code(), &refusal.to_string());
        if let Refusal::SchemaViolation { suggestion: Some(name), .. } = refusal {
            value["suggestion"] = name.into();
        }
        value
    })?;
    let current = book.files.get(path).map(|bytes| hash(bytes));
    let Some(content) = content else {
        if current.is_some() && expected.is_some() && expected != current.as_deref() {
            return Err(error("CONFLICT", "it changed"));
        }
        let existed = book.files.remove(path).is_some();
        return Ok(json!({"status": "success", "path": path, "existed": existed}));
    };
    let mode = match (&current, expected) {
        (Some(current), _) if *current == hash(content) => "unchanged",
        (Some(current), Some(expected)) if current == expected => "updated",
        (Some(_), Some(_)) => return Err(error("CONFLICT", "it changed")),
        (Some(_), None) => return Err(error("HASH_REQUIRED", "it exists")),
        (None, Some(_)) => return Err(error("NOT_FOUND", "it is gone")),
        (None, None) if book.files.keys().any(|other| other.eq_ignore_ascii_case(path)) => {
            return Err(error("CONFLICT", "differs only by case"));
        }
        (None, None) => "created",
    };
    book.keep(path, Bytes::copy_from_slice(content));
    Ok(json!({"status": "success", "mode": mode, "path": path, "file_hash": hash(content)}))
}

pub(super) fn plan(book: &mut Book, arguments: &Value, page: usize) -> Value {
    let lines: Vec<_> = book.files.iter().map(|(path, text)| format!("{path}:{}", hash(text))).collect();
    let manifest = hash(lines.join("\n").as_bytes());
    book.manifests.insert(manifest.clone(), book.files.clone());
    let wanted = arguments["target_manifest_hash"].as_str();
    let target = wanted.and_then(|target| book.manifests.get(target));
    let none = Files::new();
    let other = target.unwrap_or(&none);
    let mut paths: Vec<&String> = book.files.keys().chain(other.keys()).collect();
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let (now, then) = (book.files.get(path), other.get(path));
        if now != then {
            files.push(json!({"path": path, "current_hash": now.map(|t| hash(t)),
                "target_hash": then.map(|t| hash(t)), "size": now.map_or(0, Bytes::len)}));
        }
    }
    let from: usize = arguments["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
    let to = files.len().min(from + page);
    let mut answer = json!({"status": "changed", "manifest_hash": manifest, "files": files[from..to]});
    if to < files.len() {
        answer["next_cursor"] = to.to_string().into();
    }
    if wanted.is_some() && target.is_none() {
        answer["warning"] = "the manifest is unknown".into();
    }
    answer
}
