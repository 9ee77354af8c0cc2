//! Pages of a book, validated. Laws: no page makes it panic or run long; counts are those of the lists; an
//! issue names a file of the book and a line of the page; a page is judged the same again.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use panaversity_model::manifest::{Item, Manifest};
use panaversity_model::validation::{BookValidation, ValidationReport};
use panaversity_model::{BookPath, ContentHash, Schema};

const PAGES: [&str; 2] = ["content/01-a/page.mdx", "content/01-a/page.md"];
const OTHERS: [&str; 3] = ["content/01-a/02-b.md", "content/01-a/img.png", "static/img/x.png"];

fuzz_target!(|text: &str| {
    for page in PAGES {
        let report = validated(page, text);
        let summary = report.summary;
        assert!(summary.error_count >= report.errors.len());
        assert!(summary.warning_count >= report.warnings.len());
        let lines = text.matches('\n').count() + 1;
        for issue in report.errors.iter().chain(&report.warnings) {
            assert_eq!(issue.path, page, "{issue:?}");
            assert!(issue.line.is_none_or(|line| (1..=lines).contains(&line)), "{issue:?}");
            assert!(!issue.message.is_empty() && !issue.suggestion.is_empty(), "{issue:?}");
        }
        assert_eq!(validated(page, text), report);
    }
});

fn validated(page: &str, text: &str) -> ValidationReport {
    let item = Item { hash: ContentHash::of(b""), size: 0, version: 1 };
    let files = OTHERS.iter().chain([&page]).map(|path| ((*path).to_owned(), item)).collect();
    let mut validation = BookValidation::new(Schema::Docusaurus, Arc::new(Manifest { files }));
    if let Ok(path) = BookPath::parse(page) {
        validation.add_page(&path, text);
    }
    validation.finish()
}
