//! Whole books: each fault gives its issue, and what is right gives none.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::hash::ContentHash;
use crate::manifest::Item;

/// Validates a book of these files; only pages have content.
fn validate(schema: Schema, files: &[(&str, &str)]) -> ValidationReport {
    let item = Item { hash: ContentHash::of(b""), size: 0, version: 1 };
    let all = files.iter().map(|(path, _)| ((*path).to_owned(), item));
    let manifest = Manifest { files: all.collect::<BTreeMap<_, _>>() };
    let mut validation = BookValidation::new(schema, Arc::new(manifest));
    for (path, text) in files {
        let path = BookPath::parse(path).unwrap();
        if path.is_page() {
            validation.add_page(&path, text);
        }
    }
    validation.finish()
}

/// Each issue as one line: severity, path, message, suggestion.
fn told(report: &ValidationReport) -> Vec<String> {
    let all = report.errors.iter().chain(&report.warnings);
    all.map(|issue| {
        let Issue { path, severity, suggestion, .. } = issue;
        format!("{} {path}: {} => {suggestion}", severity.as_str(), issue.located_message())
    })
    .collect()
}

/// The issues of one page, beside files that links may lead to.
fn issues_of(page: &str) -> Vec<String> {
    let files = [
        ("content/01-Part/02-Next/README.md", ""),
        ("content/01-Part/02-Next/Übung eins.md", ""),
        ("content/01-Part/01-other.md", ""),
        ("content/01-Part/01-page.mdx", page),
        ("content/01-Part/_part.mdx", ""),
        ("content/01-Part/img.png", ""),
        ("content/01-Part/comp/index.tsx", ""),
        ("content/01-Part/data.json", ""),
        ("content/intro.md", ""),
        ("static/img/Logo.png", ""),
    ];
    let report = validate(Schema::Docusaurus, &files);
    let strip = |line: String| line.replace("content/01-Part/01-page.mdx: line 1: ", "");
    told(&report).into_iter().map(strip).collect()
}

#[test]
fn a_link_that_leads_somewhere_is_no_issue() {
    for page in [
        "[x](./01-other.md) [x](01-other.md#anchor) [x](../intro.md?q#a) [x](intro.md) [x](/intro.md)",
        "[x](/docs/intro.md) [x](@site/docs/intro.md) ![x](@site/static/img/Logo.png) [x](docs/intro.md)",
        "[x](./02-Next/%C3%9Cbung%20eins.md) [x](<./02-Next/Übung eins.md>)",
        "[x](./02-Next/U\u{308}bung%20eins.md)",
        "![x](img.png) ![x](./img.png 'title') ![x](../../static/img/Logo.png) ![x](/img/Logo.png)",
        "[x](https://x.org/y.md) [x](mailto:a@b.c) [x](tel:1) [x](//x.org/a.png) ![x](data:image/png;base64,AA)",
        "[x](pathname:///y.md) ![x](pathname:///img/none.png) [x](#here) [x](?q=1) [x](@theme/y.md)",
        "[x](/any/route) [x](/any/route/) [x](./other) [x](other/) [x](..) [x](../../blog) [x](Next)",
        "[x](./Next#a) [x](category/x) [x](../../../outside.md) [x](../../src/pages/x.md) [x]({link})",
        "[x][r] [x]: y\n\n[r]: ./01-other.md\n\n[note]: remember this\n\n[Anna]: Hello",
        "<img src=\"./img.png\"/> <a href='https://x.org'>x</a> <a href=\"./anywhere\">x</a> <img src={x}/>",
        "import P from './_part.mdx'\nimport C from './comp'\nimport D from './data'\nimport S from '@site/src/x'",
        "import R from '!!raw-loader!./data.json?x'\nimport react from 'react'",
        "`[x](./none.md)` ![x](./img.png) <!-- [x](./none.md) -->",
    ] {
        assert_eq!(issues_of(page), [""; 0], "{page}");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_told_with_the_right_spelling() {
    for (page, issue) in [
        (
            "[x](./01-othr.md)",
            "error the link `./01-othr.md` leads to no file: there is no `content/01-Part/01-othr.md` \
             => did you mean `./01-other.md`?",
        ),
        (
            "[x](01-Other.md)",
            "error the link `01-Other.md` leads to no file: there is no `content/01-Part/01-Other.md` \
             => write `./01-other.md`: upper and lower case matter",
        ),
        (
            "[x](./intro.md)",
            "error the link `./intro.md` leads to no file: there is no `content/01-Part/intro.md` \
             => did you mean `../intro.md`?",
        ),
        (
            "[x](./02-Next/Ubung.md)",
            "error the link `./02-Next/Ubung.md` leads to no file: there is no `content/01-Part/02-Next/Ubung.md` \
             => did you mean `./02-Next/Übung%20eins.md`?",
        ),
        (
            "![x](Img.png)",
            "error the image `Img.png` leads to no file: there is no `content/01-Part/Img.png` \
             => write `./img.png`: upper and lower case matter",
        ),
        (
            "![x](zzz.gif)",
            "error the image `zzz.gif` leads to no file: there is no `content/01-Part/zzz.gif` \
             => create `content/01-Part/zzz.gif`, or correct the link",
        ),
        (
            "[x](./_part.mdx)",
            "error the link `./_part.mdx` leads to a partial, which has no page of its own \
             => import it, or give it and its folders names without a leading `_`",
        ),
        ("![x]()", "error the image has no target => give it one, or remove it"),
        ("[x]()", "warning the link has no target => give it one, or remove it"),
        ("[x](100%.md)", "error the link `100%.md` has a `%` that is no escape => write `%25` for `%`"),
        (
            "![x](/img/logo.png)",
            "warning the image `/img/logo.png` leads to no file: there is no `static/img/logo.png` \
             => write `/img/Logo.png`: upper and lower case matter",
        ),
        (
            "[x](/files/x.pdf)",
            "warning the link `/files/x.pdf` leads to no file: there is no `static/files/x.pdf` \
             => upload it with upload_asset, or correct the path; files that only the site has need none",
        ),
        (
            "[x](./x.pdf)",
            "error the link `./x.pdf` leads to no file: there is no `content/01-Part/x.pdf` \
             => create `content/01-Part/x.pdf`, or correct the link",
        ),
        (
            "[x](@site/docs/intr.md)",
            "error the link `@site/docs/intr.md` leads to no file: there is no `content/intr.md` \
             => did you mean `@site/docs/intro.md`?",
        ),
        (
            "[x](/docs/none.md)",
            "warning the link `/docs/none.md` leads to no file: there is no `content/docs/none.md` \
             => create `content/docs/none.md`, or correct the link",
        ),
        (
            "text [x][r]\n\n[r]: ./zzz.md",
            "error content/01-Part/01-page.mdx: line 3: the link `./zzz.md` leads to no file: there is no \
             `content/01-Part/zzz.md` => create `content/01-Part/zzz.md`, or correct the link",
        ),
        (
            "<a href=\"./zzz.md\">x</a>",
            "warning the attribute `./zzz.md` leads to no file: there is no `content/01-Part/zzz.md` \
             => create `content/01-Part/zzz.md`, or correct the link",
        ),
        (
            "<a href='./01-other.md'>x</a>",
            "warning the attribute `./01-other.md` stays as it is: in HTML a build replaces no file by its page \
             => write a Markdown link: `[text](./01-other.md)`",
        ),
        (
            "import X from './Zzz'",
            "error the import `./Zzz` leads to no file: there is no `content/01-Part/Zzz` \
             => create `content/01-Part/Zzz`, or correct the link",
        ),
        (
            "[x](./01-other)",
            "warning the link `./01-other` leads to no page of the book => write the file: `./01-other.md`",
        ),
        (
            "[x](02-Next/)",
            "warning the link `02-Next/` leads to no page of the book => write the file: `./02-Next/README.md`",
        ),
        (
            "[x](./nowhere)",
            "warning the link `./nowhere` leads to no page of the book \
             => link to the file of a page, such as `./02-next.md`",
        ),
    ] {
        assert_eq!(issues_of(page), [issue], "{page}");
    }
}

#[test]
fn paths_are_judged_by_the_book_s_schema() {
    let files = [
        ("content/01-Part/01-Chapter/01-lesson.md", ""),
        ("content/thesis.md", ""),
        ("content/01-Part/01-Chapter/02-x.md", ""),
        ("static/img/con.png", ""),
    ];
    assert_eq!(
        told(&validate(Schema::Strict, &files)),
        [
            "error content/thesis.md: Path must match content/{NN-Name}/{NN-Name}/{NN-name}[.summary].md: `thesis.md` \
         lies in 0 folder(s) below content/; a lesson lies in a part and a chapter \
         => move it to `content/01-Part/01-Chapter/01-thesis.md`",
            "warning static/img/con.png: `con.png` is the name of a device on Windows, where it can't be unpacked \
         => rename it",
        ]
    );
    let report = validate(Schema::Docusaurus, &files);
    assert_eq!((report.summary.error_count, report.summary.warning_count), (0, 1));
    assert_eq!(
        (report.summary.content_files, report.summary.asset_files, report.summary.total_files),
        (3, 1, 4)
    );
    assert!(report.is_valid(false) && !report.is_valid(true));
}

#[test]
fn two_pages_with_one_route_or_one_id_are_told() {
    let route = |route: &str, other: &str| {
        format!(
            "its route `{route}/` is also that of `{other}`: one of them can't be reached \
             => give one of them another `slug` in its front matter, or another name"
        )
    };
    let id = |id: &str, other: &str| {
        format!(
            "its id `{id}` is also that of `{other}`: Docusaurus refuses both \
             => give one of them another `id` in its front matter, or another name"
        )
    };
    for (one, other, wanted) in [
        (("content/01-a.md", ""), ("content/02-a.md", ""), id("a", "content/01-a.md")),
        (
            ("content/01-a/1-b.md", "---\nslug: /x\n---\n"),
            ("content/02-a/2-b.md", "---\ndraft: true\n---\n"),
            id("a/b", "content/01-a/1-b.md"),
        ),
        (("content/a/README.md", ""), ("content/a/index.mdx", ""), route("/a", "content/a/README.md")),
        (("content/a.md", ""), ("content/a/a.md", ""), route("/a", "content/a.md")),
        (("content/README.md", ""), ("content/b.md", "---\nslug: /\n---\n"), route("", "content/README.md")),
        (
            ("content/b.md", "---\nslug: /x/y\n---\n"),
            ("content/x/c.md", "---\nid: y\n---\n"),
            route("/x/y", "content/b.md"),
        ),
    ] {
        let report = validate(Schema::Docusaurus, &[one, other]);
        assert_eq!(told(&report), [format!("error {}: {wanted}", other.0)]);
    }
    let fine = [
        ("content/01-a.md", ""),
        ("content/01-a.summary.md", ""),
        ("content/b.md", "---\nslug: /c\ndraft: true\n---\n"),
        ("content/c.md", ""),
        ("content/03-a.md", "---\nbroken: [\n---\n"),
        ("content/_a.md", ""),
    ];
    assert_eq!(validate(Schema::Docusaurus, &fine).summary.error_count, 1, "only the front matter");
}

#[test]
fn counts_are_exact_where_lists_are_cut() {
    let page = "[x](./none.md) [y]()\n\n".repeat(3 * LISTED_ISSUES / 2);
    let report = validate(Schema::Docusaurus, &[("content/a.md", &page)]);
    assert_eq!((report.errors.len(), report.warnings.len()), (LISTED_ISSUES, LISTED_ISSUES));
    let summary = report.summary;
    assert_eq!((summary.error_count, summary.warning_count), (3 * LISTED_ISSUES / 2, 3 * LISTED_ISSUES / 2));
    assert_eq!(report.errors[1].line, Some(3));
}

fn name() -> impl Strategy<Value = String> {
    "[0-9]{0,2}-?[a-zA-Zé]([a-zA-Zé ._-]{0,6}[a-z])?"
}

proptest! {
    #[test]
    fn whatever_a_page_holds_its_issues_name_lines_that_it_has(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "---\n", "[x](", ")", "![", "{", "}", "`", "import a from './", "'", "\"", "<a href=", ">", "é", "%",
                "\n\n", "require('", "../", "slug: ", "[a]: ", "\r\n", "\r", "\n", ": ", "<!--", "-->", "/*", "😀", "\\",
            ]), 0..40,
        ),
    ) {
        let pieces = pieces.concat();
        let front_matter = format!("---\n{pieces}\n---\n");
        for text in [String::from_utf8_lossy(&bytes).into_owned(), pieces, front_matter] {
            for path in ["content/a.mdx", "content/b/c.md"] {
                let report = validate(Schema::Docusaurus, &[(path, &text), ("content/b/d.png", "")]);
                let lines = text.matches('\n').count() + 1;
                for issue in report.errors.iter().chain(&report.warnings) {
                    prop_assert_eq!(&issue.path, path);
                    prop_assert!(issue.line.is_none_or(|line| (1..=lines).contains(&line)), "{:?} {:?}", issue, text);
                }
            }
        }
    }

    #[test]
    fn a_book_of_good_links_alone_has_no_issue(
        folders in prop::collection::vec(name(), 1..4),
        pages in prop::collection::vec((name(), 0usize..4), 2..6),
        links in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12),
    ) {
        // Names that differ by their end alone have different routes.
        let path = |number: usize, (name, depth): &(String, usize)| {
            let folder: String = folders.iter().take(*depth).flat_map(|folder| [folder.as_str(), "/"]).collect();
            format!("content/{folder}{name}{number}.md")
        };
        let paths: Vec<_> = pages.iter().enumerate().map(|(number, page)| path(number, page)).collect();
        prop_assume!(paths.iter().all(|path| {
            BookPath::parse(path).is_ok_and(|path| path.windows_device().is_none() && Schema::Docusaurus.admit(&path).is_ok())
        }));
        let mut texts = vec![String::new(); paths.len()];
        for (from, to) in links {
            let (from, to) = (from.index(paths.len()), to.index(paths.len()));
            let up = "../".repeat(paths[from].matches('/').count());
            texts[from] += &["[x](<", &up, &paths[to], ">)\n"].concat();
        }
        let files: Vec<_> = paths.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
        prop_assert_eq!(told(&validate(Schema::Docusaurus, &files)), Vec::<String>::new());
    }
}
