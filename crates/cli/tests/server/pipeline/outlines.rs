//! Outlines of the pages of a real book.

use std::path::Path;

use panaversity_model::BookPath;
use panaversity_model::lines::LineIndex;
use panaversity_model::outline::{Outline, SectionName};

use super::{REAL_BOOK, tree};

#[test]
fn every_page_of_a_real_book_is_the_sum_of_its_sections() {
    // Without one, only the tests of the domain read pages, generated ones.
    let Some(book) = std::env::var_os(REAL_BOOK) else { return };
    let mut headings = 0;
    for (name, bytes) in tree(Path::new(&book)) {
        let path = BookPath::parse(&format!("content/{name}"));
        let Ok(path) = path.map_err(drop).and_then(|path| if path.is_page() { Ok(path) } else { Err(()) })
        else {
            continue;
        };
        let page = String::from_utf8(bytes).unwrap();
        let (outline, lines) = (Outline::of(&path, &page), LineIndex::of(&page));
        let mut covered = outline.headings.first().map_or(outline.total_lines, |first| first.first_line - 1);
        let mut sum = if covered == 0 { String::new() } else { lines.lines(1..=covered).to_owned() };
        for heading in &outline.headings {
            let section = lines.lines(heading.first_line..=heading.last_line);
            // A heading of emoji alone has an empty slug.
            if let Ok(named) = SectionName::parse(&heading.slug) {
                assert_eq!(outline.section(&page, &named).unwrap().text, section, "{name}: {}", heading.slug);
            }
            if heading.first_line == covered + 1 {
                sum.push_str(section);
                covered = heading.last_line;
            }
        }
        assert_eq!(sum, page, "{name}");
        headings += outline.headings.len();
    }
    assert!(headings > 1_000, "{REAL_BOOK} names a folder of pages with {headings} headings");
}
