//! Targets of links: which file of the book a link means, judged as Docusaurus resolves it, and what to do
//! if there is none. Unknown here, and never reported: other sites, routes of other parts of the site,
//! files of the site beside the book (`@site/src`).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

use super::RouteLink;
use super::book_paths::BookPaths;
use super::issues::{Issue, Severity};
use super::links::{LinkKind, PageLink};
use crate::media;
use crate::path::BookPath;

/// Endings that an import may leave out.
const MODULE_ENDINGS: [&str; 7] = [".js", ".jsx", ".ts", ".tsx", ".mjs", ".json", ".wasm"];
/// Characters of a target that a message shows.
const SHOWN: usize = 200;

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
        return Resolution::Fine;
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
fn joined(folder: &str, relative: &str) -> Option<String> {
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

/// The issue of a broken link.
pub(super) fn broken(
    paths: &BookPaths,
    page: &BookPath,
    link: &PageLink,
    severity: Severity,
    fault: &TargetFault,
) -> Issue {
    let target = shown(&link.target);
    let what = match link.kind {
        LinkKind::Link | LinkKind::Definition => "link",
        LinkKind::Image => "image",
        LinkKind::Attribute => "attribute",
        LinkKind::Import => "import",
    };
    let (message, suggestion) = match fault {
        TargetFault::Empty => (format!("the {what} has no target"), "give it one, or remove it".to_owned()),
        TargetFault::Encoding => {
            (format!("the {what} `{target}` has a `%` that is no escape"), "write `%25` for `%`".to_owned())
        }
        TargetFault::Missing(path) => {
            let message = format!("the {what} `{target}` leads to no file: there is no `{}`", shown(path));
            (message, advice(paths, page, link, path))
        }
    };
    Issue { path: page.as_str().to_owned(), line: Some(link.line), severity, message, suggestion }
}

fn advice(paths: &BookPaths, page: &BookPath, link: &PageLink, missing: &str) -> String {
    let spelled = |path: &str| spelling(page, &link.target, path);
    if let Some(other) = paths.other_case(missing) {
        return format!("write `{}`: upper and lower case matter", spelled(other));
    }
    match paths.nearest(missing) {
        Some(near) => format!("did you mean `{}`?", spelled(near)),
        None if missing.starts_with("static/") && link.target.starts_with('/') => {
            "upload it with upload_asset, or correct the path; files that only the site has need none"
                .to_owned()
        }
        None => format!("create `{}`, or correct the link", shown(missing)),
    }
}

/// The issue of a link that leads to no route.
pub(super) fn no_route(paths: &BookPaths, link: &RouteLink) -> Issue {
    let target = shown(&link.target);
    let file = pathname(&link.target).and_then(|pathname| joined(link.page.folder(), &pathname));
    let candidates = |path: String| {
        [".md", ".mdx", "/README.md", "/index.md", "/index.mdx"].map(|end| format!("{path}{end}"))
    };
    let page = file.and_then(|path| candidates(path).into_iter().find(|path| paths.has_file(path)));
    let suggestion = match page {
        Some(page) => format!("write the file: `{}`", spelling(&link.page, "./", &page)),
        None => "link to the file of a page, such as `./02-next.md`".to_owned(),
    };
    Issue {
        path: link.page.as_str().to_owned(),
        line: Some(link.line),
        severity: Severity::Warning,
        message: format!("the link `{target}` leads to no page of the book"),
        suggestion,
    }
}

/// A path as a link of the page would name it, in the style of the link as it is.
fn spelling(page: &BookPath, style: &str, path: &str) -> String {
    if style.starts_with('/') {
        let rest = path.strip_prefix("static").or_else(|| path.strip_prefix("content"));
        return escaped(rest.unwrap_or(path));
    }
    if style.starts_with("@site/") {
        let rest = path.strip_prefix("content/").map(|rest| format!("docs/{rest}"));
        return format!("@site/{}", escaped(&rest.unwrap_or_else(|| path.to_owned())));
    }
    let (mut from, mut to): (Vec<&str>, Vec<&str>) =
        (page.folder().split('/').collect(), path.split('/').collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count().min(to.len() - 1);
    (from, to) = (from.split_off(shared), to.split_off(shared));
    let up = if from.is_empty() { "./".to_owned() } else { "../".repeat(from.len()) };
    escaped(&format!("{up}{}", to.join("/")))
}

/// A path as a target of Markdown.
fn escaped(path: &str) -> String {
    path.replace(' ', "%20").replace('(', "%28").replace(')', "%29")
}

/// Display form of a target: its beginning, control characters escaped.
fn shown(target: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    let mut shown: String = target.chars().take(SHOWN).map(escaped).collect();
    if target.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}
