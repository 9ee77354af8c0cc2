//! Media types: what a file is, judged by its name alone, as web servers do.

use crate::path::BookPath;

/// What nobody knows better.
const UNKNOWN: &str = "application/octet-stream";

/// The media type of a file, without parameters except for text, which is UTF-8.
pub fn type_of(path: &BookPath) -> &'static str {
    let end = path.as_str().rsplit_once('.').map_or("", |(_, end)| end);
    let known = mime_guess::from_ext(end).first_raw().unwrap_or(UNKNOWN);
    match known {
        "text/plain" => "text/plain; charset=utf-8",
        "text/markdown" => "text/markdown; charset=utf-8",
        "text/html" => "text/html; charset=utf-8",
        "text/css" => "text/css; charset=utf-8",
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_name_says() {
        let of = |path| type_of(&BookPath::parse(path).unwrap());
        assert_eq!(of("static/img/cover.PNG"), "image/png");
        assert_eq!(of("static/slides/talk.pdf"), "application/pdf");
        assert_eq!(of("static/video/a.mp4"), "video/mp4");
        assert_eq!(of("static/img/logo.svg"), "image/svg+xml");
        assert_eq!(of("static/robots.txt"), "text/plain; charset=utf-8");
        assert_eq!(of("static/x.html"), "text/html; charset=utf-8");
        assert_eq!(of("static/CNAME"), UNKNOWN);
        assert_eq!(of("static/.nojekyll"), UNKNOWN);
    }
}
