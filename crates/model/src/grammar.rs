//! Path grammars: the paths that a book's schema admits. Keeps R1: every stored path fits its book's
//! grammar.
//!
//! # `strict`
//! `content/{NN-Part}/{NN-Chapter}/{NN-lesson}[.summary].md|.mdx`: two digits, `-`, then a letter
//! or digit, then letters, digits, `-`, `_`. `README.md` and `index.md` may stand in `content/`,
//! in a part and in a chapter. Assets: `static/{img|images|slides|videos|audio}/{path}`.
//!
//! # `docusaurus`
//! Below `content/`, one to eight segments: anything that a `docs/` folder may contain, pages and the
//! files beside them. No segment there starts with a dot: Docusaurus does not read hidden files.
//! Assets: any path below `static/`, hidden ones included, except Git's own folder.
//!
//! # Segments
//! For both schemas below `static/`, and for `docusaurus` below `content/`: every character except
//! control characters, the marks that change the direction of text and `/ \ # ? % [ ] ! < > : " | *`;
//! not ending in a dot, which Windows cannot unpack, or in any white space, which buckets lose. Of these
//! `# ? % [ ] !` break links in Docusaurus.
//!
//! # Files and folders
//! In `strict`, names of files and of folders below `content/` are disjoint. Elsewhere any name may be
//! either, and the transaction that writes refuses a file below another; see [`Schema::may_collide`].

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::book::Schema;
use crate::path::BookPath;
use crate::refusal::Refusal;

/// Maximum depth of the `docusaurus` schema: segments below `content/`, the file included.
pub const MAX_DEPTH: usize = 8;

const STRICT_RULE: &str = "Path must match content/{NN-Name}/{NN-Name}/{NN-name}[.summary].md";
const DOCUSAURUS_RULE: &str = "Path must match content/{path}, at most 8 deep";
const STRICT_ASSET_RULE: &str = "Path must match static/{img|images|slides|videos|audio}/{path}";
const DOCUSAURUS_ASSET_RULE: &str = "Path must match static/{path}";
const PAGES: [&str; 2] = [".md", ".mdx"];
const INDEX_PAGES: [&str; 2] = ["README.md", "index.md"];
const ASSET_FOLDERS: [&str; 5] = ["img", "images", "slides", "videos", "audio"];
/// Form of a part, a chapter and a lesson.
const NUMBERED: &str = "two digits, `-` and a name of ASCII letters (a-z, A-Z), digits, `-`, `_` that starts with a letter or digit";

impl Schema {
    /// Admits the path, or refuses it with the wrong segment and its required form.
    pub fn admit(self, path: &BookPath) -> Result<(), Refusal> {
        let Err(why) = self.judge(path) else { return Ok(()) };
        let rule = match (self, path.is_asset()) {
            (Self::Strict, false) => STRICT_RULE,
            (Self::Strict, true) => STRICT_ASSET_RULE,
            (Self::Docusaurus, false) => DOCUSAURUS_RULE,
            (Self::Docusaurus, true) => DOCUSAURUS_ASSET_RULE,
        };
        let suggestion = admitted_name(self, path);
        Err(Refusal::SchemaViolation { rule: rule.to_owned(), why, suggestion })
    }

    /// True if the grammar does not exclude that a file of this path lies below another file's path, or
    /// another below it.
    pub fn may_collide(self, path: &BookPath) -> bool {
        self == Self::Docusaurus || path.is_asset()
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
            return Err(format!("the {kind} `{folder}` must be {NUMBERED}, such as `01-{kind}`"));
        }
    }
    if folders.len() <= 2 && INDEX_PAGES.contains(name) {
        return Ok(());
    }
    let Some(stem) = PAGES.iter().find_map(|end| name.strip_suffix(end)) else {
        return Err(format!(
            "`{name}` must be a page that ends in `.md` or `.mdx`; other files lie below static/ (upload_asset)"
        ));
    };
    if folders.len() != 2 {
        return Err(format!(
            "`{name}` lies in {} folder(s) below content/; a lesson lies in a part and a chapter",
            folders.len()
        ));
    }
    if is_numbered(stem.strip_suffix(".summary").unwrap_or(stem)) {
        Ok(())
    } else {
        Err(format!("the lesson `{name}` must be {NUMBERED}, such as `01-lesson.md`"))
    }
}

fn judge_docusaurus(rest: &[&str]) -> Result<(), String> {
    if rest.len() > MAX_DEPTH {
        return Err(format!("it is {} deep below content/; at most {MAX_DEPTH} are allowed", rest.len()));
    }
    for segment in rest {
        if segment.starts_with('.') {
            return Err(format!("`{segment}` starts with a dot: Docusaurus does not read hidden files"));
        }
        judge_segment(segment)?;
    }
    Ok(())
}

fn judge_asset(schema: Schema, rest: &[&str]) -> Result<(), String> {
    for segment in rest {
        // A folder into which the book is unpacked would become a repository, with hooks.
        if segment.eq_ignore_ascii_case(".git") {
            return Err(format!("`{segment}` is Git's own"));
        }
        judge_segment(segment)?;
    }
    if schema == Schema::Docusaurus || (rest.len() > 1 && ASSET_FOLDERS.contains(&rest[0])) {
        Ok(())
    } else {
        Err(format!(
            "in a strict book `{}` must lie in one of static/{{{}}}/",
            rest.join("/"),
            ASSET_FOLDERS.join("|")
        ))
    }
}

fn judge_segment(segment: &str) -> Result<(), String> {
    if let Some(refused) = segment.chars().find(|c| is_refused(*c)) {
        Err(format!("`{segment}` contains {}, which no file name may hold", shown(refused)))
    } else if segment.ends_with('.') || segment.ends_with(char::is_whitespace) {
        Err(format!("`{segment}` ends in a dot or a space, which disks and buckets lose"))
    } else {
        Ok(())
    }
}

fn is_refused(c: char) -> bool {
    // The direction marks (Unicode, Bidi_Control without LRM, RLM and ALM, which names in Arabic and
    // Hebrew need) and the line and paragraph separators: they change how a name is displayed.
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
        || c.is_control()
        || "/\\#?%[]!<>:\"|*".contains(c)
}

/// Display form of a character: itself, or its code point if it is invisible.
fn shown(c: char) -> String {
    let visible = c.is_ascii_graphic() || c.escape_debug().count() == 1;
    if visible { format!("`{c}`") } else { format!("U+{:04X}", u32::from(c)) }
}

/// True for `NN-Name`, the form of parts, chapters and lessons.
fn is_numbered(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    bytes.len() >= 4
        && bytes[0].is_ascii_digit()
        && bytes[1].is_ascii_digit()
        && bytes[2] == b'-'
        && bytes[3].is_ascii_alphanumeric()
        && bytes[4..].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_')
}

/// A path close to `path` that the schema admits, if an obvious one exists.
fn admitted_name(schema: Schema, path: &BookPath) -> Option<String> {
    if schema != Schema::Strict || path.is_asset() {
        return None;
    }
    let mut rest: Vec<&str> = path.segments().filter(|s| *s != "content").collect();
    let name = rest.pop()?;
    let folder =
        |at: usize, default: &str| rest.get(at).map_or_else(|| format!("01-{default}"), |s| numbered(s));
    let (part, chapter) = (folder(0, "Part"), folder(1, "Chapter"));
    let (stem, extension) = name.rsplit_once('.')?;
    let end = match extension.to_ascii_lowercase().as_str() {
        "md" => ".md",
        "mdx" => ".mdx",
        _ => return None,
    };
    let (stem, end) = match stem.strip_suffix(".summary") {
        Some(lesson) => (lesson, format!(".summary{end}")),
        None => (stem, end.to_owned()),
    };
    let candidate = BookPath::parse(&format!("content/{part}/{chapter}/{}{end}", numbered(stem))).ok()?;
    (candidate != *path && schema.admit(&candidate).is_ok()).then(|| candidate.as_str().to_owned())
}

/// The segment in the form `NN-Name`.
fn numbered(segment: &str) -> String {
    if is_numbered(segment) {
        return segment.to_owned();
    }
    let digits: String = segment.chars().take_while(char::is_ascii_digit).take(2).collect();
    // NFKD without combining marks: letters lose their accents, full-width forms become plain ones.
    let letters = segment[digits.len()..].nfkd().filter(|c| !is_combining_mark(*c));
    let plain: String =
        letters.map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let name = plain.trim_matches(['-', '_']);
    let name = if name.is_empty() { "name" } else { name };
    format!("{digits:0>2}-{name}").replacen("00-", "01-", usize::from(digits.is_empty()))
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
            "content/设置（高级）.md",
            "content/it’s new.md",
            "content/a–b.md",
            "content/🚀 start.md",
            "content/👩‍💻.md",
            "content/a\u{202f}b\u{a0}c.md",
            "content/$a^b`c{d}~e=f;g&h@i,j+k'l(m).md",
            "content/-a.md",
            "content/ a.md",
            "content/v1.0/x.md/y.md",
            "content/README.MD",
            "content/tags.yml",
            "content/img/p.png",
            "content/data.csv",
            "content/comp.jsx",
            "content/LICENSE",
            "content/aux.md",
            "static/CNAME",
            "static/.nojekyll",
            "static/.well-known/security.txt",
            "static/robots.txt",
            "static/img/Screenshot 2025-04-23 at 2.40.40\u{202f}PM.png",
        ] {
            assert!(admits(Schema::Docusaurus, good), "{good}");
        }
        for bad in [
            "content/a/b/c/d/e/f/g/h/i.md",
            "content/.hidden.md",
            "content/.hidden/x.md",
            "content/a<b>.md",
            "content/a\u{202e}b.md",
            "content/a\u{2028}b.md",
            "content/.md",
            "content/a /x.md",
            "content/a./x.md",
            "content/x.md ",
            "content/LICENSE\u{a0}",
            "content/a\u{3000}/x.md",
            "notes/x.md",
            "static/.git/config",
            "static/x/.Git",
            "static/a|b",
        ] {
            assert!(!admits(Schema::Docusaurus, bad), "{bad}");
        }
        for c in "#?[]!<>:\"|*".chars() {
            assert!(!admits(Schema::Docusaurus, &format!("content/a{c}b.md")), "{c}");
            assert!(!admits(Schema::Docusaurus, &format!("content/a{c}b/c.md")), "{c}");
            assert!(!admits(Schema::Docusaurus, &format!("static/a{c}b.png")), "{c}");
            assert!(!admits(Schema::Strict, &format!("static/img/a{c}b.png")), "{c}");
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
        assert!(text.contains("ASCII letters"), "{text}");
    }

    #[test]
    fn a_violation_shows_the_character_and_the_rule_of_its_folder() {
        let told = |schema: Schema, path: &str| {
            schema.admit(&BookPath::parse(path).unwrap()).unwrap_err().to_string()
        };
        let text = told(Schema::Docusaurus, "content/a\u{ff08}[b].md");
        assert_eq!(
            text,
            "Path must match content/{path}, at most 8 deep: `a\u{ff08}[b].md` contains `[`, which no file name may hold"
        );
        assert!(told(Schema::Docusaurus, "content/a\u{202e}b.md").contains("contains U+202E"));
        assert!(told(Schema::Docusaurus, "static/a?.png").starts_with("Path must match static/{path}: "));
        let text = told(Schema::Strict, "static/fonts/x.woff");
        assert!(
            text.starts_with("Path must match static/{img|images|slides|videos|audio}/{path}: "),
            "{text}"
        );
        assert!(told(Schema::Strict, "content/img/p.png").contains("`img` must be two digits"));
        assert!(told(Schema::Strict, "content/01-A/02-B/p.png").contains("upload_asset"));
    }

    fn segment() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{2}-[A-Za-z0-9][A-Za-z0-9_-]{0,5}",
            "[A-Za-z0-9._ é-]{1,8}",
            Just("README.md".to_owned())
        ]
    }

    fn suggested(path: &str) -> Option<String> {
        admitted_name(Schema::Strict, &BookPath::parse(path).unwrap())
    }

    #[test]
    fn a_name_that_does_not_fit_gets_one_that_does() {
        assert_eq!(
            suggested("content/05-Python/32-gil/07_chapter_30_quiz.md").as_deref(),
            Some("content/05-Python/32-gil/07-chapter_30_quiz.md")
        );
        assert_eq!(
            suggested("content/thesis.md").as_deref(),
            Some("content/01-Part/01-Chapter/01-thesis.md")
        );
        assert_eq!(
            suggested("content/1. Intro/Set up/3 install.summary.mdx").as_deref(),
            Some("content/01-Intro/01-Set-up/03-install.summary.mdx")
        );
        assert_eq!(
            suggested("content/01-Einführung/02-Über mich/１-été.md").as_deref(),
            Some("content/01-Einfuhrung/02-Uber-mich/01-1-ete.md")
        );
        assert_eq!(
            suggested("content/01-Part/02-Chapter/03-x.MD").as_deref(),
            Some("content/01-Part/02-Chapter/03-x.md")
        );
        for no_page in ["notes.txt", "p.png", "README"] {
            assert_eq!(suggested(&format!("content/01-Part/02-Chapter/{no_page}")), None);
        }
    }

    proptest! {
        #[test]
        fn r1_every_suggested_name_is_admitted(raw in "content/[ -~é]{1,20}(/[ -~]{1,12}){0,3}\\.(md|mdx|png)") {
            if let Ok(path) = BookPath::parse(&raw) && let Some(name) = admitted_name(Schema::Strict, &path) {
                prop_assert!(Schema::Strict.admit(&BookPath::parse(&name).unwrap()).is_ok());
            }
        }

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
        fn r1_strict_never_admits_a_page_under_another(
            segments in prop::collection::vec(segment(), 2..5), cut in 1usize..4,
        ) {
            let raw = format!("content/{}", segments.join("/"));
            let above = format!("content/{}", segments[..cut.min(segments.len() - 1)].join("/"));
            if let (Ok(file), Ok(folder)) = (BookPath::parse(&raw), BookPath::parse(&above)) {
                let both = Schema::Strict.admit(&file).is_ok() && Schema::Strict.admit(&folder).is_ok();
                prop_assert!(!both || Schema::Strict.may_collide(&file), "{raw} under {above}");
            }
        }

        #[test]
        fn r1_an_admitted_name_holds_no_character_that_is_refused(name in "\\PC{1,12}") {
            if let Ok(path) = BookPath::parse(&format!("content/{name}")) {
                let admitted = Schema::Docusaurus.admit(&path).is_ok();
                let refused = path.segments().skip(1).any(|segment| {
                    segment.starts_with('.')
                        || segment.ends_with('.')
                        || segment.ends_with(char::is_whitespace)
                        || segment.contains(is_refused)
                });
                prop_assert_eq!(admitted, !refused && path.segments().count() <= MAX_DEPTH + 1);
            }
        }
    }
}
