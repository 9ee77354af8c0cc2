//! Text of a heading, from which Docusaurus makes its id: the plain text without tags, notes and text
//! directives (`:name`). An explicit id wins: `{#id}` at its end, or as a comment of MDX, `{/* #id */}`.

use super::Heading;
use super::slug::Slugger;

/// A heading as its text is read.
pub(super) struct TitleText<'a> {
    level: u8,
    /// The heading as written.
    source: &'a str,
    pub(super) offset: usize,
    plain: String,
    /// The plain text without directives.
    for_slug: String,
}

impl<'a> TitleText<'a> {
    pub(super) fn new(level: u8, source: &'a str, offset: usize) -> Self {
        Self { level, source, offset, plain: String::new(), for_slug: String::new() }
    }

    pub(super) fn push_text(&mut self, text: &str) {
        push_without_directives(&mut self.for_slug, text, self.plain.ends_with(':'));
        self.plain.push_str(text);
    }

    /// Adds text that holds no directives.
    pub(super) fn push_code(&mut self, text: &str) {
        self.for_slug.push_str(text);
        self.plain.push_str(text);
    }

    pub(super) fn into_heading(mut self, slugger: &mut Slugger) -> Heading {
        let slug = if let Some(id) = comment_id(self.source) {
            self.plain.truncate(self.plain.rfind('{').unwrap_or(self.plain.len()));
            id.to_owned()
        } else if let Some((_, id)) = classic_id(&self.for_slug) {
            let id = id.to_owned();
            let end = classic_id(&self.plain).map(|(end, _)| end);
            self.plain.truncate(end.unwrap_or(self.plain.len()));
            id
        } else {
            slugger.slug(&self.for_slug)
        };
        let title = self.plain.trim().replace('\n', " ");
        Heading { level: self.level, title, slug, first_line: 0, last_line: 0, bytes: 0 }
    }
}

/// The id of a heading that ends with `{/* #id */}`. An escaped brace begins no expression.
fn comment_id(source: &str) -> Option<&str> {
    let line = if source.starts_with('#') {
        let line = source.trim_end();
        let unclosed = line.trim_end_matches('#');
        if unclosed.ends_with([' ', '\t']) { unclosed } else { line }
    } else {
        // Below is the underline.
        source.trim_end().rsplit_once('\n')?.0
    };
    let inside = line.trim_end().strip_suffix('}')?.trim_end().strip_suffix("*/")?;
    let (before, comment) = inside.rsplit_once("/*")?;
    let before = before.trim_end().strip_suffix('{')?;
    let id = comment.trim().split(' ').next()?.strip_prefix('#')?;
    (!before.ends_with('\\') && !comment.contains("*/") && !id.is_empty()).then_some(id)
}

/// The id of a text that ends with `{#id}`, and where the text before it ends. The id holds neither `}` nor
/// `{#` behind its first character.
fn classic_id(text: &str) -> Option<(usize, &str)> {
    let inside = text.strip_suffix('}')?;
    let last = inside.rfind("{#")?;
    let overlapping = inside[..last].ends_with("{#").then(|| last - 2);
    overlapping.into_iter().chain([last]).find_map(|open| {
        let id = &inside[open + 2..];
        let mut behind_first = id.chars();
        behind_first.next()?;
        let behind_first = behind_first.as_str();
        let is_id = !behind_first.contains('}') && !behind_first.contains("{#") && !id.contains(['\n', '\r']);
        // An id of spaces is none.
        let id = id.trim();
        (is_id && !id.is_empty()).then(|| (inside[..open].trim_end().len(), id))
    })
}

/// Adds text without its directives `:name`, which Docusaurus reads as elements without text. `10:30` and
/// `a::b` hold none.
fn push_without_directives(into: &mut String, text: &str, mut is_after_colon: bool) {
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(':') {
        into.push_str(before);
        let follows_colon = before.is_empty() && is_after_colon;
        let name = if follows_colon { 0 } else { name_length(behind) };
        if name == 0 {
            into.push(':');
        }
        is_after_colon = name == 0;
        rest = &behind[name..];
    }
    into.push_str(rest);
}

/// Length of the directive's name with which a text begins; 0 if it begins with none.
fn name_length(text: &str) -> usize {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let bytes = text.as_bytes();
    let length = bytes.iter().take_while(|byte| belongs(byte)).count();
    let is_name = bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes[length - 1].is_ascii_alphanumeric()
        && bytes.get(length) != Some(&b':');
    if is_name { length } else { 0 }
}
