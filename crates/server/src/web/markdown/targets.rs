//! Targets of links and images in pages. A target within the book becomes a URL of this server's pages;
//! others stay if they lead to the web or to a mailbox, and lose their link otherwise.

use panaversity_model::BookPath;
use percent_encoding::percent_decode_str;

use super::sanitised::ID_PREFIX;
use crate::web::links::BookLinks;

/// Schemes that a link may have.
const SCHEMES: [&str; 3] = ["http:", "https:", "mailto:"];

/// True for a target with a scheme or a host: it is not in the book.
pub(super) fn is_elsewhere(target: &str) -> bool {
    target.starts_with("//") || scheme(target).is_some()
}

/// The scheme of a URL with its colon, if it has one (RFC 3986, section 3.1).
fn scheme(target: &str) -> Option<&str> {
    let end = target.find(':')?;
    let name = &target[..end];
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_name.then(|| &target[..=end])
}

/// The URL of a link; `None`: it leads nowhere that these pages know.
pub(super) fn of_link(target: &str, links: &BookLinks, page: &BookPath) -> Option<String> {
    let target = target.trim();
    // Browsers leave out what is no printable character, also within a scheme.
    if target.chars().any(char::is_control) {
        return None;
    }
    if let Some(fragment) = target.strip_prefix('#') {
        return Some(format!("#{ID_PREFIX}{fragment}"));
    }
    if let Some(scheme) = scheme(target) {
        return SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)).then(|| target.to_owned());
    }
    if target.starts_with("//") {
        return Some(format!("https:{target}"));
    }
    let (path, fragment) = in_book(target, page)?;
    let url = if path.is_asset() { links.bytes(&path) } else { links.file(&path) };
    Some(match fragment {
        Some(fragment) => format!("{url}#{ID_PREFIX}{fragment}"),
        None => url,
    })
}

/// The URL of an image of the book; `None` for any other.
pub(super) fn of_image(target: &str, links: &BookLinks, page: &BookPath) -> Option<String> {
    let target = target.trim();
    if target.is_empty() || is_elsewhere(target) || target.chars().any(char::is_control) {
        return None;
    }
    let (path, _) = in_book(target, page)?;
    Some(links.bytes(&path))
}

/// The path within the book that a target names, and its fragment. One that begins with a slash is below
/// `static/`, as in a site.
fn in_book<'a>(target: &'a str, page: &BookPath) -> Option<(BookPath, Option<&'a str>)> {
    let (target, fragment) = target.split_once('#').map_or((target, None), |(path, rest)| (path, Some(rest)));
    let target = target.split('?').next().unwrap_or_default();
    let decoded = percent_decode_str(target).decode_utf8().ok()?;
    let path = if let Some(rest) = decoded.strip_prefix("@site/") {
        rest.to_owned()
    } else if let Some(rest) = decoded.strip_prefix('/') {
        format!("static/{rest}")
    } else {
        relative(&decoded, page)?
    };
    Some((BookPath::parse(&path).ok()?, fragment))
}

/// A path relative to the folder of a page; `None`: it leads out of the book.
fn relative(target: &str, page: &BookPath) -> Option<String> {
    let mut segments: Vec<&str> = page.folder().split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in target.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            name => segments.push(name),
        }
    }
    Some(segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use panaversity_model::{BookId, Layer};

    fn links() -> (BookLinks, BookPath) {
        let page = BookPath::parse("content/01-Part/01-Chapter/01-lesson.md").unwrap();
        (BookLinks::new(&BookId::parse("ai-python").unwrap(), &Layer::Base), page)
    }

    #[test]
    fn links_within_the_book_lead_to_its_pages() {
        let (links, page) = links();
        for (target, url) in [
            ("02-next.md", Some("/ui/books/ai-python/files/content/01-Part/01-Chapter/02-next.md")),
            (
                "./../02-Chapter/x.md?a#top",
                Some("/ui/books/ai-python/files/content/01-Part/02-Chapter/x.md#s-top"),
            ),
            ("/img/a%20b.png", Some("/ui/books/ai-python/bytes/static/img/a%20b.png")),
            ("@site/static/a.pdf", Some("/ui/books/ai-python/bytes/static/a.pdf")),
            ("#part", Some("#s-part")),
            ("../../../../etc/passwd", None),
            ("https://example.com/x", Some("https://example.com/x")),
            ("//example.com/x", Some("https://example.com/x")),
            ("mailto:a@example.com", Some("mailto:a@example.com")),
            ("javascript:alert(1)", None),
            ("JaVaScRiPt:alert(1)", None),
            ("java\u{9}script:alert(1)", None),
            (" javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("vbscript:x", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(of_link(target, &links, &page).as_deref(), url, "{target}");
        }
    }

    #[test]
    fn images_are_those_of_the_book() {
        let (links, page) = links();
        let shown = of_image("./a.png", &links, &page);
        assert_eq!(shown.as_deref(), Some("/ui/books/ai-python/bytes/content/01-Part/01-Chapter/a.png"));
        for target in ["https://evil.example/a.png", "//evil.example/a.png", "data:image/png;base64,AA", ""] {
            assert_eq!(of_image(target, &links, &page), None, "{target}");
        }
    }
}
