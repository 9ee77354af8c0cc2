//! Targets of links: which file of the book a link means, as Docusaurus resolves it. Unknown here, and
//! never reported: other sites, routes of other parts of the site, files beside the book (`@site/src`).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

use super::book_paths::BookPaths;
use super::issues::Severity;
use super::links::{LinkKind, PageLink};
use super::routes;
use crate::media;
use crate::path::BookPath;

/// Endings that an import may leave out.
const MODULE_ENDINGS: [&str; 7] = [".js", ".jsx", ".ts", ".tsx", ".mjs", ".json", ".wasm"];

/// Result of resolving a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resolution {
    /// Its target exists, or can't be known here.
    Fine,
    /// It means a route and no file.
    Route,
    /// Its target does not exist.
    Broken(Severity, TargetFault),
}

/// Fault of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TargetFault {
    Empty,
    /// It has a `%` that is no escape.
    Encoding,
    /// The book has no such file; its path.
    Missing(String),
    /// It is a file that the site does not publish.
    Partial,
    /// It is a page, in raw HTML, where a build replaces no file by its route.
    RawPage,
}

/// Finds the target of a link.
pub(super) fn resolve(paths: &BookPaths, page: &BookPath, link: &PageLink) -> Resolution {
    let raw = link.target.trim();
    if raw.is_empty() {
        return match link.kind {
            LinkKind::Image => Resolution::Broken(Severity::Error, TargetFault::Empty),
            LinkKind::Link => Resolution::Broken(Severity::Warning, TargetFault::Empty),
            _ => Resolution::Fine,
        };
    }
    if link.kind == LinkKind::Import {
        return resolve_import(paths, page, raw);
    }
    if raw.starts_with(['#', '?']) || is_elsewhere(raw) {
        return Resolution::Fine;
    }
    let Some(decoded) = pathname(raw) else {
        let severity = if link.kind == LinkKind::Attribute { Severity::Warning } else { Severity::Error };
        return Resolution::Broken(severity, TargetFault::Encoding);
    };
    if let Some(site) = decoded.strip_prefix("@site/") {
        return match of_site(site) {
            Some(path) => exact(paths, path, severity_of(link.kind)),
            None => Resolution::Fine,
        };
    }
    match decoded.strip_prefix('/') {
        Some(rest) => resolve_absolute(paths, link.kind, rest),
        None => resolve_relative(paths, page, link.kind, &decoded),
    }
}

/// Raw HTML is not resolved by a build, so that what is missing there breaks none.
fn severity_of(kind: LinkKind) -> Severity {
    if kind == LinkKind::Attribute { Severity::Warning } else { Severity::Error }
}

fn exact(paths: &BookPaths, path: String, severity: Severity) -> Resolution {
    if paths.has_file(&path) {
        Resolution::Fine
    } else {
        Resolution::Broken(severity, TargetFault::Missing(path))
    }
}

fn resolve_import(paths: &BookPaths, page: &BookPath, module: &str) -> Resolution {
    let path = match module.strip_prefix("@site/") {
        Some(site) => of_site(site),
        None => joined(page.folder(), module).and_then(|path| of_site_or_book(&path)),
    };
    let Some(path) = path else { return Resolution::Fine };
    let exists = paths.has_file(&path)
        || MODULE_ENDINGS.iter().any(|end| {
            paths.has_file(&format!("{path}{end}")) || paths.has_file(&format!("{path}/index{end}"))
        });
    if exists {
        return Resolution::Fine;
    }
    // A site may read `.md` as plain Markdown, where an import is text.
    Resolution::Broken(
        if page.is_mdx() { Severity::Error } else { Severity::Warning },
        TargetFault::Missing(path),
    )
}

/// A path from the root of the site: the base path of the site and its other pages are unknown, so that
/// only pages and files of a site's `static/` are looked for.
fn resolve_absolute(paths: &BookPaths, kind: LinkKind, rest: &str) -> Resolution {
    if is_page(rest) {
        let in_docs = rest.strip_prefix("docs/").map(|rest| format!("content/{rest}"));
        if in_docs.is_some_and(|path| paths.has_file(&path)) {
            return Resolution::Fine;
        }
        return exact(paths, format!("content/{rest}"), Severity::Warning);
    }
    let path = format!("static/{rest}");
    let is_file = BookPath::parse(&path).is_ok_and(|path| media::binary_format(&path).is_some());
    if kind == LinkKind::Image || is_file { exact(paths, path, Severity::Warning) } else { Resolution::Fine }
}

fn resolve_relative(paths: &BookPaths, page: &BookPath, kind: LinkKind, decoded: &str) -> Resolution {
    let Some(path) = joined(page.folder(), decoded).and_then(|path| of_site_or_book(&path)) else {
        return Resolution::Fine;
    };
    if paths.has_file(&path) {
        let is_partial = is_page(decoded) && routes::is_excluded(path.trim_start_matches("content/"));
        return match kind {
            LinkKind::Link | LinkKind::Definition if is_partial => {
                Resolution::Broken(Severity::Error, TargetFault::Partial)
            }
            LinkKind::Attribute if is_page(decoded) => {
                Resolution::Broken(Severity::Warning, TargetFault::RawPage)
            }
            _ => Resolution::Fine,
        };
    }
    if is_page(decoded) {
        // A bare path is also tried from the root of the docs and of the site.
        let is_bare = !decoded.starts_with("./") && !decoded.starts_with("../");
        let from_root = [Some(format!("content/{decoded}")), of_site(decoded)];
        if is_bare && from_root.into_iter().flatten().any(|path| paths.has_file(&path)) {
            return Resolution::Fine;
        }
        return Resolution::Broken(severity_of(kind), TargetFault::Missing(path));
    }
    let is_html = |path: &BookPath| media::type_of(path).starts_with("text/html");
    let is_known_type = BookPath::parse(&path).is_ok_and(|path| media::is_known(&path) && !is_html(&path));
    let is_page_s_name = || [".md", ".mdx"].iter().any(|end| paths.has_file(&format!("{path}{end}")));
    match kind {
        LinkKind::Image => Resolution::Broken(Severity::Error, TargetFault::Missing(path)),
        _ if is_known_type && !decoded.ends_with('/') && !is_page_s_name() => {
            Resolution::Broken(severity_of(kind), TargetFault::Missing(path))
        }
        LinkKind::Attribute => Resolution::Fine,
        _ => Resolution::Route,
    }
}

/// True for other sites, anchors, escape hatches, and what is no path but a template.
fn is_elsewhere(raw: &str) -> bool {
    let scheme = raw.split_once(':').map(|(scheme, _)| scheme).is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let is_alias = raw.starts_with('@') && !raw.starts_with("@site/");
    scheme || is_alias || raw.starts_with("//") || raw.starts_with('~') || raw.contains(['{', '}', '<', '>'])
}

/// The path of a target without query, anchor and escapes, in NFC; `None`: a `%` is no escape, or the bytes
/// are no text.
pub(super) fn pathname(target: &str) -> Option<Cow<'_, str>> {
    let pathname = target.trim().split(['#', '?']).next().unwrap_or_default();
    let is_hex = |at: usize| pathname.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    if pathname.match_indices('%').any(|(at, _)| !is_hex(at + 1) || !is_hex(at + 2)) {
        return None;
    }
    let text = percent_decode_str(pathname).decode_utf8().ok()?;
    Some(if text.is_ascii() { text } else { text.nfc().collect::<String>().into() })
}

/// A path relative to a folder; `None`: it leads out of the book.
pub(super) fn joined(folder: &str, relative: &str) -> Option<String> {
    let mut segments: Vec<&str> = folder.split('/').collect();
    for segment in relative.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop()?;
            }
            name => segments.push(name),
        }
    }
    Some(segments.join("/"))
}

/// The book's path for one of the site, where `content/` is `docs/`; `None`: it is not the book's.
fn of_site(site: &str) -> Option<String> {
    match site.split_once('/') {
        Some(("docs", rest)) => Some(format!("content/{rest}")),
        Some(("static", _)) => Some(site.to_owned()),
        _ => None,
    }
}

fn of_site_or_book(path: &str) -> Option<String> {
    if path.starts_with("content/") { Some(path.to_owned()) } else { of_site(path) }
}

fn is_page(path: &str) -> bool {
    let end = path.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    matches!(end.as_deref(), Some("md" | "mdx"))
}
