//! Tests of outlines: against Docusaurus, against naive readings, and of hostile pages.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::ErrorCode;

/// Pages with their headings as Docusaurus 3.10.2 makes them; see `scripts/heading-slugs.mjs`.
const DOCUSAURUS: &str = include_str!("fixtures/docusaurus.json");

fn outline(page: &str) -> Outline {
    Outline::of(&BookPath::parse("content/x.md").unwrap(), page)
}

fn titles(page: &str) -> Vec<String> {
    outline(page).headings.into_iter().map(|heading| heading.title).collect()
}

fn section(page: &str, name: &str) -> Result<String, Refusal> {
    let excerpt = outline(page).section(page, &SectionName::parse(name)?)?;
    assert_eq!(excerpt.total_lines, page.split_inclusive('\n').count());
    Ok(excerpt.text)
}

#[test]
fn headings_are_those_of_docusaurus() {
    let pages: Value = serde_json::from_str(DOCUSAURUS).unwrap();
    for (name, page) in pages.as_object().unwrap() {
        let expected: Vec<_> = page["headings"].as_array().unwrap().iter().collect();
        let found = outline(page["page"].as_str().unwrap()).headings;
        let found: Vec<_> = found
            .iter()
            .map(|h| serde_json::json!({ "level": h.level, "slug": h.slug, "first_line": h.first_line }))
            .collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn a_heading_is_told_with_the_extent_of_its_section() {
    let page = "---\ntitle: x\n---\n\n# One *more* `time` {#once}\ntext\n## Two\nwords\n\n### Three\n## Two\n\nEnd\n===\nlast";
    let heading = |level, title: &str, slug: &str, first_line, last_line, bytes| Heading {
        level,
        title: title.to_owned(),
        slug: slug.to_owned(),
        first_line,
        last_line,
        bytes,
    };
    let expected = [
        heading(1, "One more time", "once", 5, 12, 65),
        heading(2, "Two", "two", 7, 10, 24),
        heading(3, "Three", "three", 10, 10, 10),
        heading(2, "Two", "two-1", 11, 12, 8),
        heading(1, "End", "end", 13, 15, 12),
    ];
    assert_eq!(outline(page), Outline { headings: expected.into(), total_lines: 15 });
    assert_eq!(outline(""), Outline { headings: Vec::new(), total_lines: 0 });
}

#[test]
fn a_title_is_plain_text() {
    for (page, title) in [
        ("# A *b* `c` [d](e) ![f](g) <i>h</i>", "A b c d f h"),
        ("# A {#id}", "A"),
        ("# A {/* #id */}", "A"),
        ("# *A* {/*#id*/} ##", "A"),
        ("# A <!-- #no-id -->", "A"),
        ("#   spaced   ", "spaced"),
        ("over\ntwo *lines*\n---", "over two lines"),
        ("# a:b &amp; c\\*d", "a:b & c*d"),
        ("#", ""),
    ] {
        assert_eq!(titles(page), [title], "{page:?}");
    }
}

#[test]
fn what_only_looks_like_a_heading_is_none() {
    for page in [
        "```\n# a\n```",
        "~~~md\n# a\n",
        "    # a",
        "<!--\n# a\n-->",
        "<!-- x\n\n# a\n\n-->",
        "---\n# a: b\n---\n",
        "{/*\n# a\n*/}",
        "<script>\n# a\n</script>",
        "export const x = {\n  text: `\n# a\n`,\n}",
        "####### a",
        "#a",
        "\\# a",
        "text # a",
        "- a\n---",
    ] {
        assert_eq!(titles(page), [""; 0], "{page:?}");
    }
}

#[test]
fn a_section_is_found_by_slug_or_title_byte_for_byte() {
    let page = "\u{feff}# Top\r\n\r\n## A b\r\ntext\r\n### Sub\r\n## A b\r\nmore";
    for (name, text) in [
        ("top", page),
        ("Top", page),
        ("a-b", "## A b\r\ntext\r\n### Sub\r\n"),
        ("#a-b", "## A b\r\ntext\r\n### Sub\r\n"),
        ("## Sub", "### Sub\r\n"),
        (" a-b-1 ", "## A b\r\nmore"),
    ] {
        assert_eq!(section(page, name).unwrap(), text, "{name}");
    }
    // A slug goes before a title.
    assert_eq!(section("# x {#y}\n# y {#x}\n", "x").unwrap(), "# y {#x}\n");
}

#[test]
fn a_name_of_no_section_or_of_several_is_refused_with_slugs() {
    let page = "# Getting started\n## Install\n## Use\n## Install\n# C {#twice}\n# D {#twice}\n";
    let ambiguous = section(page, "Install").unwrap_err();
    let slugs = vec!["install".to_owned(), "install-1".to_owned()];
    assert_eq!(ambiguous, Refusal::SectionAmbiguous { section: "Install".to_owned(), slugs });
    assert_eq!(ambiguous.code(), ErrorCode::InvalidArgument);
    assert!(
        matches!(section(page, "twice"), Err(Refusal::SectionAmbiguous { slugs, .. }) if slugs.len() == 2)
    );
    let unknown = section(page, "Getting Startet").unwrap_err();
    assert_eq!(unknown.code(), ErrorCode::NotFound);
    let Refusal::SectionNotFound { suggestions, .. } = unknown else { panic!("{unknown:?}") };
    assert_eq!(suggestions[0], "getting-started");
    for raw in ["", "  ", "x".repeat(SectionName::MAX_BYTES + 1).as_str()] {
        assert!(matches!(SectionName::parse(raw), Err(Refusal::InvalidArgument { .. })));
    }
}

#[test]
fn of_headings_on_one_line_the_first_counts() {
    assert_eq!(titles("# a\r# b\n# c\n"), ["a", "c"]);
}

#[test]
fn hostile_pages_end_soon() {
    const BYTES: usize = 300_000;
    for piece in [
        "#",
        "# ",
        "#\n",
        "# a\n",
        "######\n",
        "> ",
        "> # ",
        "- ",
        "- # a\n",
        "a\n=\n",
        "a\n",
        "<a>\n",
        "<a\n",
        "{#",
        "{#}",
        "# {#a}\n",
        "# {/* #a */}\n",
        "# {/*",
        "`",
        "# `\n",
        ":a",
        ":",
        "a:",
        "# a-1\n# a\n",
        "<!--\n",
        "{/*\n# a\n",
        "# [a](b) *c* ",
    ] {
        let page = piece.repeat(BYTES / piece.len());
        for page in [&page, &format!("# {page}")] {
            let outline = outline(page);
            let longest = SectionName::parse(&"a".repeat(SectionName::MAX_BYTES)).unwrap();
            assert!(outline.find(&longest).is_err());
        }
    }
}

/// Lines of which most are headings, text or the beginning of something that hides headings.
fn any_page() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "# a",
        "## a",
        "### b c",
        "###### d",
        "#",
        "text",
        "",
        "```",
        "~~~",
        "===",
        "---",
        "- x",
        "> # q",
        "<!-- c",
        "-->",
        "<Tabs>",
        "</Tabs>",
        "{/*",
        "*/}",
        "    # i",
        "## é {#e}",
        "# x {/* #y */}",
        "\u{feff}# z",
    ]);
    let end = prop::sample::select(vec!["\n", "\r\n", "\n\n"]);
    let lines = prop::collection::vec((line, end), 0..25);
    (lines, any::<bool>()).prop_map(|(lines, is_ended)| {
        let mut page: String = lines.into_iter().flat_map(|(line, end)| [line, end]).collect();
        if !is_ended && page.ends_with('\n') {
            page.pop();
        }
        page
    })
}

/// The line before the next heading of the same or a higher level, found by looking at each.
fn naive_last_line(headings: &[Heading], at: usize, total: usize) -> usize {
    let next = headings[at + 1..].iter().find(|other| other.level <= headings[at].level);
    next.map_or(total, |other| other.first_line - 1)
}

/// ATX headings of a page that holds nothing which hides them, as a reader counts them.
fn naive_headings(page: &str) -> Vec<(u8, usize, String)> {
    let mut found = Vec::new();
    for (at, line) in page.lines().enumerate() {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        let title = &line[level..];
        if (1..=6).contains(&level) && (title.is_empty() || title.starts_with(' ')) {
            found.push((u8::try_from(level).unwrap(), at + 1, title.trim().to_owned()));
        }
    }
    found
}

proptest! {
    #[test]
    fn every_line_belongs_where_the_outline_says(page in any_page()) {
        let Outline { headings, total_lines } = outline(&page);
        prop_assert_eq!(total_lines, page.split_inclusive('\n').count());
        prop_assert!(headings.is_sorted_by(|a, b| a.first_line < b.first_line));
        let lines = LineIndex::of(&page);
        let mut top = String::new();
        let mut covered = headings.first().map_or(total_lines, |first| first.first_line - 1);
        if covered > 0 {
            top.push_str(lines.lines(1..=covered));
        }
        for (at, heading) in headings.iter().enumerate() {
            prop_assert_eq!(heading.last_line, naive_last_line(&headings, at, total_lines));
            let text = lines.lines(heading.first_line..=heading.last_line);
            prop_assert_eq!(heading.bytes, text.len());
            // A section that lies in no other.
            if heading.first_line == covered + 1 {
                top.push_str(text);
                covered = heading.last_line;
            }
        }
        prop_assert_eq!(top, page);
    }

    #[test]
    fn a_section_is_the_lines_that_its_heading_tells(page in any_page()) {
        let outline = outline(&page);
        for heading in &outline.headings {
            let named = outline.headings.iter().filter(|other| other.slug == heading.slug).count();
            // A slug of nothing is no name.
            let Ok(name) = SectionName::parse(&heading.slug) else { continue };
            match outline.section(&page, &name) {
                Ok(excerpt) => {
                    prop_assert_eq!((excerpt.first_line, excerpt.last_line), (heading.first_line, heading.last_line));
                    prop_assert_eq!(excerpt.text.len(), heading.bytes);
                }
                Err(refusal) => prop_assert!(named > 1, "{refusal:?}"),
            }
        }
    }

    #[test]
    fn plain_headings_are_those_that_a_reader_counts(
        lines in prop::collection::vec("#{0,7}( ?[a-zé][a-z 0-9]{0,6})?", 0..25)
    ) {
        let page = lines.join("\n");
        let found: Vec<_> =
            outline(&page).headings.into_iter().map(|h| (h.level, h.first_line, h.title)).collect();
        prop_assert_eq!(found, naive_headings(&page));
    }

    #[test]
    fn any_text_has_an_outline(page in "\\PC{0,40}([\r\n#>`<{}*/: -]{0,6}\\PC{0,6}){0,10}") {
        let Outline { headings, total_lines } = outline(&page);
        for heading in headings {
            prop_assert!(heading.first_line >= 1 && heading.first_line <= heading.last_line);
            prop_assert!(heading.last_line <= total_lines);
        }
    }
}
