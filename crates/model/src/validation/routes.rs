//! Ids and routes of pages, computed as the docs plugin of Docusaurus does by default: front matter `slug`
//! and `id`, number prefixes stripped, index pages in the place of their folder. Summaries are
//! pages like others: `01-x.summary.md` has the route `x.summary`.
//!
//! A route is relative to that of the docs, begins with `/` and ends without one.

use crate::path::BookPath;

/// Front matter that determines a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RouteFields {
    pub(super) slug: Option<String>,
    pub(super) id: Option<String>,
    /// `parse_number_prefixes: false`.
    pub(super) keeps_prefixes: bool,
    /// Drafts are not built.
    pub(super) is_draft: bool,
}

/// Segments of routes that Docusaurus generates, apart from pages.
const GENERATED: [&str; 2] = ["category", "tags"];

/// Identity of a page in a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageIdentity {
    /// Id, by which sidebars name it; two pages with one id end a build.
    pub(super) id: String,
    /// Route; `None`: a draft, which is not published.
    pub(super) route: Option<String>,
}

/// The identity of a page; `None`: it is no page of the site.
pub(super) fn identity_of(path: &BookPath, fields: &RouteFields) -> Option<PageIdentity> {
    let source = path.as_str().strip_prefix("content/")?;
    if !path.is_page() || is_excluded(source) {
        return None;
    }
    let (folder, name) = source.rsplit_once('/').unwrap_or(("", source));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let strip = |segment: &str| -> String {
        if fields.keeps_prefixes { segment.to_owned() } else { without_number(segment).to_owned() }
    };
    let mut folder_route = String::new();
    for segment in folder.split('/').filter(|segment| !segment.is_empty()) {
        folder_route.push('/');
        folder_route.push_str(&strip(segment));
    }
    let own = fields.id.clone().unwrap_or_else(|| strip(stem));
    let route = match &fields.slug {
        Some(slug) => resolved(&folder_route, slug).unwrap_or_default(),
        None if is_index(stem, folder) => folder_route.clone(),
        None => resolved(&folder_route, &own).unwrap_or_default(),
    };
    let id = format!("{folder_route}/{own}").trim_start_matches('/').to_owned();
    Some(PageIdentity { id, route: Some(route).filter(|_| !fields.is_draft) })
}

/// True if a relative link of the page at `own` leads to a route, to a generated page or out of the docs.
/// Trailing slashes depend on the site: both readings are tried.
pub(super) fn leads_somewhere(own: &str, target: &str, is_route: impl Fn(&str) -> bool) -> bool {
    let above = own.rsplit_once('/').map_or("", |(above, _)| above);
    [above, own].iter().any(|base| match resolved(base, target) {
        None => true,
        Some(route) => is_route(&route) || route.split('/').any(|segment| GENERATED.contains(&segment)),
    })
}

/// A path relative to a folder's route; `None`: it leads above the docs.
fn resolved(folder: &str, target: &str) -> Option<String> {
    let is_absolute = target.starts_with('/');
    let mut segments: Vec<&str> = if is_absolute { Vec::new() } else { folder.split('/').collect() };
    segments.retain(|segment| !segment.is_empty());
    for segment in target.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop()?;
            }
            name => segments.push(name),
        }
    }
    Some(segments.iter().flat_map(|segment| ["/", segment]).collect())
}

/// True for files that the docs plugin leaves out by default.
pub(super) fn is_excluded(source: &str) -> bool {
    source.split('/').any(|segment| segment.starts_with('_') || segment == "__tests__")
}

/// True for a page that stands for its folder.
fn is_index(stem: &str, folder: &str) -> bool {
    let stem = stem.to_lowercase();
    let own = folder.rsplit_once('/').map_or(folder, |(_, name)| name);
    matches!(stem.as_str(), "index" | "readme") || (!own.is_empty() && stem == own.to_lowercase())
}

/// A name without its number prefix: digits, then `-`, `_` or `.` between optional white space. Dates and
/// versions keep theirs.
fn without_number(name: &str) -> &str {
    let rest = name.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == name.len() {
        return name;
    }
    let is_separator = |c: char| matches!(c, '-' | '_' | '.');
    // `7.0-x` and `2021-11-x`.
    let mut behind = rest.chars();
    if behind.next().is_some_and(is_separator) && behind.next().is_some_and(|c| c.is_ascii_digit()) {
        return name;
    }
    let separated = rest.trim_start();
    let suffix = separated.trim_start_matches(is_separator);
    let bare = suffix.trim_start();
    let is_prefix = suffix.len() < separated.len() && bare.starts_with(|c: char| !is_separator(c));
    if is_prefix { bare } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str, fields: &RouteFields) -> Option<String> {
        identity_of(&BookPath::parse(path).unwrap(), fields)?.route
    }

    #[test]
    fn a_route_is_the_one_that_docusaurus_gives() {
        let plain = RouteFields::default();
        for (path, wanted) in [
            ("content/01-Part/02-Chapter/03-lesson.md", "/Part/Chapter/lesson"),
            ("content/01-Part/02-Chapter/03-lesson.summary.md", "/Part/Chapter/lesson.summary"),
            ("content/01-Part/README.md", "/Part"),
            ("content/01-Part/Index.mdx", "/Part"),
            ("content/01-Part/01-part.md", "/Part"),
            ("content/Part/01-part.md", "/Part/part"),
            ("content/README.md", ""),
            ("content/2021-11-news.md", "/2021-11-news"),
            ("content/7.0-x.md", "/7.0-x"),
            ("content/3 - x.md", "/x"),
            ("content/3x.md", "/3x"),
            ("content/01-_x.md", "/x"),
            ("content/01--.md", "/01--"),
        ] {
            assert_eq!(route(path, &plain).as_deref(), Some(wanted), "{path}");
        }
        for none in ["content/_x.md", "content/_a/x.md", "content/p.png", "static/x.md"] {
            assert_eq!(route(none, &plain), None, "{none}");
        }
        let with = |slug: Option<&str>, id: Option<&str>| RouteFields {
            slug: slug.map(str::to_owned),
            id: id.map(str::to_owned),
            ..RouteFields::default()
        };
        let page = "content/01-Part/02-x.md";
        assert_eq!(route(page, &with(Some("/y/"), None)).unwrap(), "/y");
        assert_eq!(route(page, &with(Some("./y"), Some("z"))).unwrap(), "/Part/y");
        assert_eq!(route(page, &with(None, Some("02-z"))).unwrap(), "/Part/02-z");
        assert_eq!(route("content/01-Part/README.md", &with(None, Some("z"))).unwrap(), "/Part");
        let keeping = RouteFields { keeps_prefixes: true, ..plain.clone() };
        assert_eq!(route(page, &keeping).unwrap(), "/01-Part/02-x");
        assert_eq!(route(page, &RouteFields { is_draft: true, ..plain }), None);
    }

    #[test]
    fn a_link_to_a_route_is_tried_with_and_without_a_trailing_slash() {
        let is_route = |route: &str| ["", "/Part", "/Part/a", "/Part/b/c"].contains(&route);
        for good in ["./a", "a/", "../Part/a", "../a", "..", "../../blog", "./category/x", "b/c"] {
            assert!(leads_somewhere("/Part/x", good, is_route), "{good}");
        }
        for bad in ["./b", "y", "../Other/a"] {
            assert!(!leads_somewhere("/Part/x", bad, is_route), "{bad}");
        }
    }
}
