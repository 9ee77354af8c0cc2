//! Which paths a book's schema admits. Keeps R1: every stored path fits its book's grammar.
//!
//! # `strict`
//! `content/{NN-Part}/{NN-Chapter}/{NN-lesson}[.summary].md|.mdx`: two digits, `-`, then a letter
//! or digit, then letters, digits, `-`, `_`. `README.md` and `index.md` may stand in `content/`,
//! in a part and in a chapter. Assets: `static/{img|images|slides|videos|audio}/{path}`.
//!
//! # `docusaurus`
//! Below `content/`, one to eight segments: folders and `.md`/`.mdx` pages of safe segments,
//! `_category_.json|yml|yaml`, images and PDFs. Assets: any safe path below `static/`.
//!
//! A safe segment has letters, their marks and digits of any script, `-`, `_`, `.`, `(`, `)`, `+`, `,`, `'`,
//! `&`, `@` and inner spaces. It starts with a letter, a digit or one of `_ ( @ +` and does not
//! end in `.`. A folder below `content/` never ends like a file (`.md`, `.png`, ...), so by
//! grammar no file can lie under another file's path there.

use unicode_normalization::char::is_combining_mark;

use crate::book::Schema;
use crate::path::BookPath;
use crate::refusal::Refusal;
use crate::suggestion;

/// Deepest path of the `docusaurus` schema: segments below `content/`, the file included.
pub const MAX_DEPTH: usize = 8;

const STRICT_RULE: &str = "Path must match content/{NN-Name}/{NN-Name}/{NN-name}[.summary].md";
const DOCUSAURUS_RULE: &str =
    "Path must be a page, an image or a `_category_` file below content/, at most 8 deep";
const PAGES: [&str; 2] = [".md", ".mdx"];
const BESIDE_PAGES: [&str; 9] = [".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".avif", ".ico", ".pdf"];
const CATEGORIES: [&str; 3] = ["_category_.json", "_category_.yml", "_category_.yaml"];
const INDEX_PAGES: [&str; 2] = ["README.md", "index.md"];
const ASSET_TYPES: [&str; 5] = ["img", "images", "slides", "videos", "audio"];

impl Schema {
    /// Admits the path or says which segment is wrong and what it should be.
    pub fn admit(self, path: &BookPath) -> Result<(), Refusal> {
        let Err(why) = self.judge(path) else { return Ok(()) };
        let rule = match self {
            Self::Strict => STRICT_RULE,
            Self::Docusaurus => DOCUSAURUS_RULE,
        };
        let suggestion = suggestion::admitted_name(self, path);
        Err(Refusal::SchemaViolation { rule: rule.to_owned(), why, suggestion })
    }

    fn judge(self, path: &BookPath) -> Result<(), String> {
        let segments: Vec<&str> = path.segments().collect();
        match (segments[0], &segments[1..]) {
            ("content" | "static", []) => Err("a file name must follow".to_owned()),
            ("content", rest) => match self {
                Self::Strict => judge_strict(rest),
                Self::Docusaurus => judge_docusaurus(rest),
            },
            ("static", rest) => judge_asset(self, rest),
            (first, _) => Err(format!("`{first}` must be `content` for pages or `static` for assets")),
        }
    }
}

fn judge_strict(rest: &[&str]) -> Result<(), String> {
    let (name, folders) = rest.split_last().ok_or("a file name must follow")?;
    for (folder, kind) in folders.iter().zip(["part", "chapter"]) {
        if !is_numbered(folder) {
            return Err(format!(
                "the {kind} `{folder}` must be two digits, `-` and a name of letters, digits, `-`, `_`, such as `01-{kind}`"
            ));
        }
    }
    if folders.len() <= 2 && INDEX_PAGES.contains(name) {
        return Ok(());
    }
    if folders.len() != 2 {
        return Err(format!(
            "`{name}` lies in {} folder(s) below content/; a lesson lies in a part and a chapter",
            folders.len()
        ));
    }
    let stem = PAGES.iter().find_map(|end| name.strip_suffix(end));
    let stem = stem.ok_or_else(|| format!("the lesson `{name}` must end in `.md` or `.mdx`"))?;
    if is_numbered(stem.strip_suffix(".summary").unwrap_or(stem)) {
        Ok(())
    } else {
        Err(format!(
            "the lesson `{name}` must be two digits, `-` and a name of letters, digits, `-`, `_`, such as `01-lesson.md`"
        ))
    }
}

fn judge_docusaurus(rest: &[&str]) -> Result<(), String> {
    let (name, folders) = rest.split_last().ok_or("a file name must follow")?;
    if rest.len() > MAX_DEPTH {
        return Err(format!("it is {} deep below content/; at most {MAX_DEPTH} are allowed", rest.len()));
    }
    for folder in folders {
        judge_segment(folder)?;
        if ends_like_a_file(folder) {
            return Err(format!("the folder `{folder}` ends like a file: rename it"));
        }
    }
    judge_segment(name)?;
    let is_page = PAGES.iter().any(|end| name.ends_with(end));
    let is_beside = ends_like_a_file(name) && !PAGES.iter().any(|end| name.to_lowercase().ends_with(end));
    if CATEGORIES.contains(name) || is_page || (is_beside && !name.to_lowercase().starts_with("_category_."))
    {
        Ok(())
    } else {
        Err(format!(
            "`{name}` must end in .md or .mdx, be a `_category_` file, or be an image or PDF beside pages"
        ))
    }
}

fn judge_asset(schema: Schema, rest: &[&str]) -> Result<(), String> {
    for segment in rest {
        // A folder that a book is put into would become a repository, with hooks.
        if segment.eq_ignore_ascii_case(".git") {
            return Err(format!("`{segment}` is Git's own"));
        }
        judge_segment(segment.strip_prefix('.').unwrap_or(segment))?;
    }
    if schema == Schema::Docusaurus || (rest.len() > 1 && ASSET_TYPES.contains(&rest[0])) {
        Ok(())
    } else {
        Err(format!("an asset lies in static/{{{}}}/", ASSET_TYPES.join("|")))
    }
}

fn judge_segment(segment: &str) -> Result<(), String> {
    let safe = |c: char| c.is_alphanumeric() || is_combining_mark(c) || "-_.()+,'&@ ".contains(c);
    let starts = segment.chars().next().is_some_and(|c| c.is_alphanumeric() || "_(@+".contains(c));
    if let Some(odd) = segment.chars().find(|c| !safe(*c)) {
        Err(format!("`{segment}` contains `{}`, which is not safe in a file name", odd.escape_default()))
    } else if !starts {
        Err(format!("`{segment}` must start with a letter, a digit or `_`"))
    } else if segment.ends_with(['.', ' ']) {
        Err(format!("`{segment}` must not end in a dot or a space"))
    } else {
        Ok(())
    }
}

/// `NN-Name`, the form of parts, chapters and lessons.
pub(crate) fn is_numbered(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    bytes.len() >= 4
        && bytes[0].is_ascii_digit()
        && bytes[1].is_ascii_digit()
        && bytes[2] == b'-'
        && bytes[3].is_ascii_alphanumeric()
        && bytes[4..].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_')
}

/// Ends in an extension that only files have, whatever its case.
pub(crate) fn ends_like_a_file(name: &str) -> bool {
    let lower = name.to_lowercase();
    let has_end = |ends: &[&str]| ends.iter().any(|end| lower.len() > end.len() && lower.ends_with(end));
    CATEGORIES.contains(&lower.as_str()) || has_end(&PAGES) || has_end(&BESIDE_PAGES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admits(schema: Schema, path: &str) -> bool {
        schema.admit(&BookPath::parse(path).unwrap()).is_ok()
    }

    #[test]
    fn the_strict_schema_admits_lessons_summaries_and_index_pages() {
        for good in [
            "content/01-Intro/02-Setup/03-install.md",
            "content/01-Intro/02-Setup/03-install.summary.md",
            "content/01-Intro/02-Setup/03-in_stall-2.mdx",
            "content/README.md",
            "content/01-Intro/index.md",
            "content/01-Intro/02-Setup/README.md",
            "static/img/a/b.png",
            "static/audio/x.mp3",
        ] {
            assert!(admits(Schema::Strict, good), "{good}");
        }
        for bad in [
            "content/thesis.md",
            "content/1-Intro/02-Setup/03-install.md",
            "content/01-Intro/02-Setup/install.md",
            "content/01-Intro/02-Setup/03-install.txt",
            "content/01-Intro/02-Setup/03-.md",
            "content/01-Intro/02-Setup/03--x.md",
            "content/01-Intro/02-Setup/03-a b.md",
            "content/01-Intro/02-Setup/03-install.summary.summary.md",
            "content/01-Intro/02-Setup/04-x/README.md",
            "content/01-Intro/02-Setup/07_chapter_30_quiz.md",
            "content/01-Intro/02-Setup/readme.md",
            "content",
            "static/CNAME",
            "static/fonts/x.woff",
            "docs/x.md",
        ] {
            assert!(!admits(Schema::Strict, bad), "{bad}");
        }
    }

    #[test]
    fn the_docusaurus_schema_admits_what_docusaurus_reads() {
        for good in [
            "content/thesis.md",
            "content/05-Python/32-gil/07_chapter_30_quiz.md",
            "content/guide/_category_.json",
            "content/guide/diagram.SVG",
            "content/guide/über uns (v2).mdx",
            "content/_partial.mdx",
            "content/हिन्दी.md",
            "content/a/b/c/d/e/f/g/h.md",
            "static/CNAME",
            "static/.nojekyll",
            "static/robots.txt",
        ] {
            assert!(admits(Schema::Docusaurus, good), "{good}");
        }
        for bad in [
            "content/a/b/c/d/e/f/g/h/i.md",
            "content/x.md/y.md",
            "content/.hidden.md",
            "content/.hidden/x.md",
            "content/script.js",
            "content/README.MD",
            "content/_CATEGORY_.json",
            "content/a<b>.md",
            "content/a\u{202e}b.md",
            "content/.md",
            "content/a /x.md",
            "notes/x.md",
            "static/.git/config",
            "static/x/.Git",
        ] {
            assert!(!admits(Schema::Docusaurus, bad), "{bad}");
        }
    }

    #[test]
    fn a_violation_names_the_segment_and_what_it_should_be() {
        let path = BookPath::parse("content/1-Intro/02-Setup/03-install.md").unwrap();
        let refusal = Schema::Strict.admit(&path).unwrap_err();
        let text = refusal.to_string();
        assert!(
            text.starts_with("Path must match content/{NN-Name}/{NN-Name}/{NN-name}[.summary].md: "),
            "{text}"
        );
        assert!(text.contains("the part `1-Intro`") && text.contains("`01-part`"), "{text}");
    }

    fn segment() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{2}-[A-Za-z0-9][A-Za-z0-9_-]{0,5}",
            "[A-Za-z0-9._ é-]{1,8}",
            Just("README.md".to_owned())
        ]
    }

    proptest! {
        #[test]
        fn r1_whatever_strict_admits_docusaurus_admits_too(
            segments in prop::collection::vec(segment(), 0..4), end in "(\\.summary)?\\.(md|mdx|txt)",
        ) {
            let raw = format!("content/{}{end}", segments.join("/"));
            if let Ok(path) = BookPath::parse(&raw) && Schema::Strict.admit(&path).is_ok() {
                prop_assert!(Schema::Docusaurus.admit(&path).is_ok(), "{raw}");
            }
        }

        #[test]
        fn r1_an_admitted_file_never_lies_under_another(
            segments in prop::collection::vec(segment(), 2..5), cut in 1usize..4,
        ) {
            let raw = format!("content/{}", segments.join("/"));
            let above = format!("content/{}", segments[..cut.min(segments.len() - 1)].join("/"));
            if let (Ok(file), Ok(folder)) = (BookPath::parse(&raw), BookPath::parse(&above)) {
                let both = Schema::Docusaurus.admit(&file).is_ok() && Schema::Docusaurus.admit(&folder).is_ok();
                prop_assert!(!both, "{raw} under {above}");
            }
        }
    }
}
