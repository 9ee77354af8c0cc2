//! Validation of a book: rules over its paths and pages that find what would break a site built from it.
//! Pure: the caller hands in the manifest and the text of each page, one page at a time.
//!
//! # What is found
//! - Paths that the book's schema refuses, and names that Windows cannot unpack.
//! - Front matter that is no YAML mapping, or has a field of a type that Docusaurus refuses.
//! - Links, images, reference definitions, imports and HTML attributes whose target the book lacks.
//! - Pages with one id or one route.
//!
//! # Limits
//! Of a page only its route and its links to routes are kept. The lists of issues are cut at
//! [`LISTED_ISSUES`] each; their counts are exact. A link that may be right on some site is never an error:
//! base path, trailing slashes and generated pages are unknown here.

mod advice;
mod book_paths;
mod front_matter;
mod html;
mod issues;
mod links;
mod modules;
mod routes;
mod targets;
mod yaml;

use std::collections::HashMap;
use std::sync::Arc;

use crate::book::Schema;
use crate::manifest::Manifest;
use crate::path::BookPath;
use book_paths::BookPaths;
use issues::IssueList;
pub use issues::{Issue, LISTED_ISSUES, Severity, ValidationReport, ValidationSummary};
use links::{LinkKind, PageLink};
use routes::PageIdentity;
use targets::Resolution;

/// Links to routes that are kept until the routes of all pages are known; further ones are not checked.
const KEPT_ROUTE_LINKS: usize = 10_000;

/// A link whose target is a route, not a file.
struct RouteLink {
    page: Arc<BookPath>,
    line: usize,
    target: String,
}

/// Validation of one book in progress.
pub struct BookValidation {
    paths: BookPaths,
    issues: IssueList,
    /// The first page of each id.
    ids: HashMap<String, Arc<BookPath>>,
    /// The first page at each route.
    routes: HashMap<String, Arc<BookPath>>,
    /// The route of each page that has a kept link.
    route_of: HashMap<Arc<BookPath>, String>,
    route_links: Vec<RouteLink>,
}

impl BookValidation {
    /// Begins with the paths of the book.
    pub fn new(schema: Schema, manifest: Arc<Manifest>) -> Self {
        let mut issues = IssueList::default();
        for path in manifest.files.keys() {
            check_path(schema, path, &mut issues);
        }
        Self {
            paths: BookPaths::new(manifest),
            issues,
            ids: HashMap::new(),
            routes: HashMap::new(),
            route_of: HashMap::new(),
            route_links: Vec::new(),
        }
    }

    /// Adds an issue that the caller found.
    pub fn report(&mut self, issue: Issue) {
        self.issues.add(issue);
    }

    /// Checks one page.
    pub fn add_page(&mut self, path: &BookPath, text: &str) {
        let page = Arc::new(path.clone());
        let head = front_matter::read(path, text, &mut self.issues);
        let identity = head.fields.as_ref().and_then(|fields| routes::identity_of(path, fields));
        let route = identity.and_then(|identity| self.claim(&page, identity));
        let kept_before = self.route_links.len();
        links::for_each(path, head.body, |link| self.check_link(&page, &link));
        if self.route_links.len() > kept_before
            && let Some(route) = route
        {
            self.route_of.insert(page, route);
        }
    }

    /// Checks the links to routes, now that all are known, and returns all issues.
    pub fn finish(mut self) -> ValidationReport {
        for link in &self.route_links {
            let Some(own) = self.route_of.get(&link.page) else { continue };
            let target = targets::pathname(&link.target).unwrap_or_default();
            if !routes::leads_somewhere(own, &target, |route| self.routes.contains_key(route)) {
                self.issues.add_with(Severity::Warning, || advice::no_route(&self.paths, link));
            }
        }
        self.issues.finish(self.paths.manifest())
    }

    /// Notes id and route of a page, and reports the page that has them already; returns the route.
    fn claim(&mut self, page: &Arc<BookPath>, PageIdentity { id, route }: PageIdentity) -> Option<String> {
        let other = self.ids.entry(id.clone()).or_insert_with(|| page.clone());
        let taken = (other != page).then(|| {
            let message = format!("its id `{id}` is also that of `{other}`: Docusaurus refuses both");
            (message, "give one of them another `id` in its front matter, or another name")
        });
        let taken = taken.or_else(|| {
            let route = route.as_ref()?;
            let other = self.routes.get(route)?;
            let message =
                format!("its route `{route}/` is also that of `{other}`: one of them can't be reached");
            Some((message, "give one of them another `slug` in its front matter, or another name"))
        });
        if let Some(route) = &route {
            self.routes.entry(route.clone()).or_insert_with(|| page.clone());
        }
        if let Some((message, suggestion)) = taken {
            let (path, suggestion) = (page.as_str().to_owned(), suggestion.to_owned());
            self.issues.add(Issue { path, line: None, severity: Severity::Error, message, suggestion });
        }
        route
    }

    fn check_link(&mut self, page: &Arc<BookPath>, link: &PageLink) {
        match targets::resolve(&self.paths, page, link) {
            Resolution::Fine => {}
            Resolution::Broken(severity, fault) => {
                self.issues.add_with(severity, || advice::broken(&self.paths, page, link, severity, &fault));
            }
            Resolution::Route if link.kind == LinkKind::Definition => {}
            Resolution::Route => {
                if self.route_links.len() < KEPT_ROUTE_LINKS {
                    let target = link.target.to_string();
                    self.route_links.push(RouteLink { page: page.clone(), line: link.line, target });
                }
            }
        }
    }
}

fn check_path(schema: Schema, path: &str, issues: &mut IssueList) {
    let issue = |severity, message: String, suggestion: String| Issue {
        path: path.to_owned(),
        line: None,
        severity,
        message,
        suggestion,
    };
    let parsed = BookPath::parse(path).and_then(|parsed| schema.admit(&parsed).map(|()| parsed));
    match parsed {
        Ok(parsed) => {
            if let Some(device) = parsed.windows_device() {
                let message =
                    format!("`{device}` is the name of a device on Windows, where it can't be unpacked");
                issues.add(issue(Severity::Warning, message, "rename it".to_owned()));
            }
        }
        Err(refusal) => {
            let suggestion = match &refusal {
                crate::Refusal::SchemaViolation { suggestion: Some(name), .. } => {
                    format!("move it to `{name}`")
                }
                _ => "move it to a path that the schema admits".to_owned(),
            };
            issues.add(issue(Severity::Error, refusal.to_string(), suggestion));
        }
    }
}

#[cfg(test)]
mod tests;
