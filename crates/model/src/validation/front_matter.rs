//! Front matter of a page, read as YAML, and the types of the fields on which a build of Docusaurus fails.

use super::issues::{Issue, IssueList, Severity};
use super::routes::RouteFields;
use super::yaml::{self, YamlDocument, YamlField, YamlKind};
use crate::markdown::{self, Body, FrontMatter};
use crate::path::BookPath;

/// Fields that must be text that is not empty; numbers and dates count as text.
const TEXT: [&str; 6] =
    ["id", "slug", "sidebar_key", "sidebar_label", "sidebar_class_name", "pagination_label"];
/// Fields that must be text, which may be empty.
const TEXT_OR_EMPTY: [&str; 2] = ["title", "description"];
/// Fields that must be text that is not empty, or null.
const TEXT_OR_NULL: [&str; 3] = ["displayed_sidebar", "pagination_next", "pagination_prev"];
/// Fields that must be numbers.
const NUMBERS: [&str; 3] = ["sidebar_position", "toc_min_heading_level", "toc_max_heading_level"];
/// Fields that must be booleans.
const BOOLEANS: [&str; 5] =
    ["hide_title", "hide_table_of_contents", "parse_number_prefixes", "draft", "unlisted"];

/// The beginning of a page, as read.
pub(super) struct Head<'a> {
    /// The fields that determine the page's route; `None`: they can't be read.
    pub(super) fields: Option<RouteFields>,
    pub(super) body: Body<'a>,
}

/// Reads the front matter of a page and reports its faults.
pub(super) fn read<'a>(path: &BookPath, page: &'a str, issues: &mut IssueList) -> Head<'a> {
    let (front_matter, body) = markdown::split(page);
    let none = Head { fields: Some(RouteFields::default()), body };
    let mut report = |line: usize, message: String, suggestion: &str| {
        let (path, suggestion) = (path.as_str().to_owned(), suggestion.to_owned());
        issues.add(Issue { path, line: Some(line), severity: Severity::Error, message, suggestion });
    };
    let block = match front_matter {
        FrontMatter::Absent => return none,
        FrontMatter::Block(block) => block,
        FrontMatter::Unended => {
            report(
                1,
                "the front matter that begins with `---` does not end".to_owned(),
                "put a line `---` after its last field; if a rule is meant, put an empty line before it",
            );
            return Head { fields: None, body };
        }
    };
    // Behind the first `---` a language may be named.
    let (language, yaml) = block.split_once('\n').unwrap_or((block, ""));
    if !matches!(language.trim(), "" | "yaml" | "yml") {
        return none;
    }
    match yaml::read(yaml) {
        Ok(YamlDocument::Fields(fields)) => {
            for field in &fields {
                if let Some((message, suggestion)) = fault_of(field) {
                    report(field.line + 1, message, &suggestion);
                }
            }
            Head { fields: Some(route_fields(&fields)), body }
        }
        Ok(YamlDocument::Other(YamlKind::Null)) => none,
        Ok(YamlDocument::Other(kind)) => {
            let message = format!("the front matter is {}, not fields", kind.shown());
            report(2, message, "write one field on each line, such as `title: My page`");
            Head { fields: None, body }
        }
        Err(error) => {
            report(
                error.line + 1,
                format!("the front matter is no YAML: {}", error.why),
                "put a value that contains `: `, `#` or quotes between double quotes",
            );
            Head { fields: None, body }
        }
    }
}

fn route_fields(fields: &[YamlField]) -> RouteFields {
    let field = |name: &str| fields.iter().find(|field| field.name == name);
    let text = |name: &str| field(name).filter(|field| is_text(field.kind)).map(|field| field.text.clone());
    let flag = |name: &str| field(name).map(|field| field.text.eq_ignore_ascii_case("true"));
    RouteFields {
        slug: text("slug").filter(|slug| !slug.is_empty()),
        id: text("id").filter(|id| !id.is_empty()),
        keeps_prefixes: flag("parse_number_prefixes") == Some(false),
        is_draft: flag("draft") == Some(true),
    }
}

/// True for a type that Docusaurus accepts as text.
fn is_text(kind: YamlKind) -> bool {
    matches!(kind, YamlKind::Text | YamlKind::Number | YamlKind::Date)
}

/// The fault of a field, and the next step.
fn fault_of(field: &YamlField) -> Option<(String, String)> {
    let YamlField { name, kind, text, items, .. } = field;
    let name = name.as_str();
    if *kind == YamlKind::Opaque {
        return None;
    }
    let empty = (*kind == YamlKind::Text && text.is_empty()) || (*kind == YamlKind::List && items.is_empty());
    let (wanted, example) = if TEXT.contains(&name) {
        if name == "id" && is_text(*kind) && text.contains('/') {
            let message = "`id` contains `/`, which Docusaurus refuses".to_owned();
            return Some((message, "write the name alone, or use `slug` for a path".to_owned()));
        }
        if is_text(*kind) && !empty {
            return None;
        }
        ("text", format!("{name}: \"...\""))
    } else if TEXT_OR_EMPTY.contains(&name) {
        if is_text(*kind) {
            return None;
        }
        ("text", format!("{name}: \"...\""))
    } else if TEXT_OR_NULL.contains(&name) {
        if (is_text(*kind) && !empty) || *kind == YamlKind::Null {
            return None;
        }
        ("text or null", format!("{name}: null"))
    } else if NUMBERS.contains(&name) {
        if *kind == YamlKind::Number || (*kind == YamlKind::Text && text.trim().parse::<f64>().is_ok()) {
            return None;
        }
        ("a number", format!("{name}: 2"))
    } else if BOOLEANS.contains(&name) {
        let spelled = ["true", "false"].iter().any(|word| text.trim().eq_ignore_ascii_case(word));
        if *kind == YamlKind::Boolean || (*kind == YamlKind::Text && spelled) {
            return None;
        }
        ("true or false", format!("{name}: true"))
    } else if matches!(name, "keywords" | "tags") {
        let admits = |item: &YamlKind| {
            is_text(*item) || *item == YamlKind::Opaque || (name == "tags" && *item == YamlKind::Mapping)
        };
        // Only tags may be an empty list.
        if *kind == YamlKind::List && items.iter().all(admits) && !(empty && name == "keywords") {
            return None;
        }
        if *kind == YamlKind::List && !empty {
            let odd = items.iter().find(|item| !admits(item)).map_or("something else", |kind| kind.shown());
            let message = format!("an entry of `{name}` is {odd}, not text");
            return Some((message, format!("write `{name}: [one, two]`")));
        }
        ("a list of texts", format!("{name}: [one, two]"))
    } else {
        return None;
    };
    let is = if empty || *kind == YamlKind::Null { "empty" } else { kind.shown() };
    let suggestion = match kind {
        YamlKind::Null => format!("write `{example}`, or remove the field"),
        _ => format!("write `{example}`"),
    };
    Some((format!("`{name}` must be {wanted}, but is {is}"), suggestion))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn faults(page: &str) -> Vec<String> {
        let mut issues = IssueList::default();
        read(&BookPath::parse("content/x.md").unwrap(), page, &mut issues);
        issues.finish(&Manifest::default()).errors.iter().map(Issue::located_message).collect()
    }

    #[test]
    fn what_docusaurus_accepts_has_no_fault() {
        for page in [
            "",
            "# No front matter",
            "---\n---\n",
            "---\n# only a comment\n---\ntext",
            "---\r\ntitle: x\r\nslug: /y\r\n---\r\ntext",
            "\u{feff}---\ntitle: 2026\nsidebar_position: 1.5\ntags: [a, 2, {label: b, permalink: /b}]\n---\n",
            "---\nslug: 2026-01-31\nsidebar_position: \"3\"\ndraft: 'true'\ndescription: ''\n---\n",
            "---\ndisplayed_sidebar: null\npagination_next: null\nunknown: [[1]]\nkeywords: [a]\ntags: []\n---\n",
            "---toml\nslug = 1\n---\n",
            "----\nno front matter\n",
            "\n---\nno front matter\n",
            "--- \ntitle: a\n---\n",
        ] {
            assert_eq!(faults(page), [""; 0], "{page:?}");
        }
    }

    #[test]
    fn each_fault_of_front_matter_is_told_with_its_line() {
        for (page, fault) in [
            ("---\ntitle: x\n", "line 1: the front matter that begins with `---` does not end"),
            ("---\njust text\n---\n", "line 2: the front matter is text, not fields"),
            ("---\n- a\n---\n", "line 2: the front matter is a list, not fields"),
            (
                "---\ntitle: x\nsidebar_position: two\n---\n",
                "line 3: `sidebar_position` must be a number, but is text",
            ),
            ("---\nsidebar_position:\n---\n", "line 2: `sidebar_position` must be a number, but is empty"),
            ("---\nslug: [a]\n---\n", "line 2: `slug` must be text, but is a list"),
            ("---\nslug: ''\n---\n", "line 2: `slug` must be text, but is empty"),
            ("---\nid: a/b\n---\n", "line 2: `id` contains `/`, which Docusaurus refuses"),
            ("---\ntitle:\n---\n", "line 2: `title` must be text, but is empty"),
            ("---\ntitle: true\n---\n", "line 2: `title` must be text, but is a boolean"),
            ("---\ndraft: no\n---\n", "line 2: `draft` must be true or false, but is text"),
            ("---\ntags: a, b\n---\n", "line 2: `tags` must be a list of texts, but is text"),
            ("---\nkeywords: []\n---\n", "line 2: `keywords` must be a list of texts, but is empty"),
            ("---\nkeywords: [a, {b: c}]\n---\n", "line 2: an entry of `keywords` is a mapping, not text"),
            (
                "---\npagination_next: 1\ndisplayed_sidebar: {}\n---\n",
                "line 3: `displayed_sidebar` must be text or null, but is a mapping",
            ),
        ] {
            assert_eq!(faults(page), [fault], "{page:?}");
        }
        let told = faults("---\ntitle: Why: because\n---\n");
        assert!(told[0].starts_with("line 2: the front matter is no YAML: "), "{told:?}");
    }
}
