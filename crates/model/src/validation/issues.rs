//! Issues of a validation, in lists of bounded length with exact counts.

use crate::manifest::Manifest;

/// Most errors, and most warnings, that a report lists.
pub const LISTED_ISSUES: usize = 1_000;

/// Severity of an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It breaks the build of a site, or loses data.
    Error,
    /// It is probably not meant, but may be right on some site.
    Warning,
}

impl Severity {
    /// Name in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Path in the book.
    pub path: String,
    /// Line of the page, from 1; `None`: it is about the file as a whole.
    pub line: Option<usize>,
    /// Severity.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The next step.
    pub suggestion: String,
}

impl Issue {
    /// The message with the line before it.
    pub fn located_message(&self) -> String {
        match self.line {
            Some(line) => format!("line {line}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// Numbers of a validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidationSummary {
    /// Files of the book.
    pub total_files: usize,
    /// Files below `content/`.
    pub content_files: usize,
    /// Files below `static/`.
    pub asset_files: usize,
    /// Errors found.
    pub error_count: usize,
    /// Warnings found.
    pub warning_count: usize,
}

/// Result of a validation; the lists are in path and line order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationReport {
    /// Exact numbers.
    pub summary: ValidationSummary,
    /// Up to [`LISTED_ISSUES`] errors.
    pub errors: Vec<Issue>,
    /// Up to [`LISTED_ISSUES`] warnings.
    pub warnings: Vec<Issue>,
}

impl ValidationReport {
    /// True if there is no error and, if `strict`, no warning either.
    pub fn is_valid(&self, strict: bool) -> bool {
        self.summary.error_count == 0 && !(strict && self.summary.warning_count > 0)
    }
}

/// Collector of issues.
#[derive(Debug, Default)]
pub(super) struct IssueList {
    errors: Vec<Issue>,
    warnings: Vec<Issue>,
    error_count: usize,
    warning_count: usize,
}

impl IssueList {
    pub(super) fn add(&mut self, issue: Issue) {
        self.add_with(issue.severity, || issue);
    }

    /// Counts an issue, and makes it only if it is listed.
    pub(super) fn add_with(&mut self, severity: Severity, make: impl FnOnce() -> Issue) {
        let (list, count) = match severity {
            Severity::Error => (&mut self.errors, &mut self.error_count),
            Severity::Warning => (&mut self.warnings, &mut self.warning_count),
        };
        *count += 1;
        if list.len() < LISTED_ISSUES {
            list.push(make());
        }
    }

    pub(super) fn finish(mut self, manifest: &Manifest) -> ValidationReport {
        for list in [&mut self.errors, &mut self.warnings] {
            list.sort_by(|a, b| (&a.path, a.line, &a.message).cmp(&(&b.path, b.line, &b.message)));
        }
        let total_files = manifest.files.len();
        let asset_files = manifest.files.keys().filter(|path| path.starts_with("static/")).count();
        let summary = ValidationSummary {
            total_files,
            content_files: total_files - asset_files,
            asset_files,
            error_count: self.error_count,
            warning_count: self.warning_count,
        };
        ValidationReport { summary, errors: self.errors, warnings: self.warnings }
    }
}
