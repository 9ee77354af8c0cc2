//! Issues of links that lead nowhere, with the next step: the right spelling, the nearest file, or the file
//! to create.

use super::RouteLink;
use super::book_paths::BookPaths;
use super::issues::{Issue, Severity};
use super::links::{LinkKind, PageLink};
use super::targets::{TargetFault, joined, pathname};
use crate::path::BookPath;

/// Characters of a target that a message shows.
const SHOWN: usize = 200;

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
        TargetFault::Partial => (
            format!("the {what} `{target}` leads to a partial, which has no page of its own"),
            "import it, or give it and its folders names without a leading `_`".to_owned(),
        ),
        TargetFault::RawPage => (
            format!("the {what} `{target}` stays as it is: in HTML a build replaces no file by its page"),
            format!("write a Markdown link: `[text]({target})`"),
        ),
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
