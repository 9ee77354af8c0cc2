//! Media types, determined from the file name alone, as web servers do.

use crate::path::BookPath;

/// Media type of an unknown extension.
const UNKNOWN: &str = "application/octet-stream";
/// Extensions of archives: the registered media types share no prefix.
const ARCHIVES: [&str; 14] =
    ["zip", "gz", "tgz", "tar", "bz2", "tbz2", "xz", "txz", "zst", "7z", "rar", "jar", "lz", "lzma"];
/// Extensions of office documents, which are archives or binary records internally.
const OFFICE: [&str; 9] = ["doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp"];
/// Text formats whose registered media type is image, audio or video.
const TEXT_AFTER_ALL: [&str; 6] = ["svg", "dxf", "xbm", "m3u", "m3u8", "pls"];

/// Media type of a file, without parameters except for text, which is UTF-8.
pub fn type_of(path: &BookPath) -> &'static str {
    let extension = extension(path);
    let known = match extension.as_str() {
        "mdx" => "text/markdown",
        "yml" | "yaml" => "application/yaml",
        "tsx" => "text/plain",
        // The registry only has the MPEG transport stream for this extension.
        "ts" | "mts" | "cts" if !path.is_asset() => "text/plain",
        other => mime_guess::from_ext(other).first_raw().unwrap_or(UNKNOWN),
    };
    match known {
        "text/plain" => "text/plain; charset=utf-8",
        "text/markdown" => "text/markdown; charset=utf-8",
        "text/html" => "text/html; charset=utf-8",
        "text/css" => "text/css; charset=utf-8",
        known => known,
    }
}

/// True if the extension is a registered one.
pub fn is_known(path: &BookPath) -> bool {
    type_of(path) != UNKNOWN
}

/// Binary format denoted by the extension, with its article; `None`: the file may be text.
pub fn binary_format(path: &BookPath) -> Option<&'static str> {
    let extension = extension(path);
    let media_type = type_of(path);
    let (kind, subtype) = media_type.split_once('/').unwrap_or((media_type, ""));
    match (kind, extension.as_str()) {
        (_, text) if TEXT_AFTER_ALL.contains(&text) => None,
        (_, archive) if ARCHIVES.contains(&archive) => Some("an archive"),
        (_, office) if OFFICE.contains(&office) => Some("an office document"),
        (_, "pdf") => Some("a PDF"),
        ("image", _) => Some("an image"),
        ("audio", _) => Some("audio"),
        ("video", _) => Some("a video"),
        ("font", _) => Some("a font"),
        _ if subtype.starts_with("font-") || subtype == "vnd.ms-fontobject" => Some("a font"),
        _ => None,
    }
}

/// Extension: the part after the last dot of the name, in lower case; empty without a dot.
fn extension(path: &BookPath) -> String {
    path.name().rsplit_once('.').map_or_else(String::new, |(_, end)| end.to_ascii_lowercase())
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
        assert_eq!(of("static/v1.png/LICENSE"), UNKNOWN);
        assert_eq!(of("static/videos/part.ts"), "video/vnd.dlna.mpeg-tts");
        assert_eq!(of("content/code.ts"), "text/plain; charset=utf-8");
        assert_eq!(of("content/a.mdx"), "text/markdown; charset=utf-8");
        assert_eq!(of("content/data.csv"), "text/csv");
    }

    #[test]
    fn a_name_announces_a_binary_format_or_may_be_text() {
        let of = |path: &str| binary_format(&BookPath::parse(&format!("content/{path}")).unwrap());
        for (names, format) in [
            ("a.png a.JPG a.webp a.avif a.ico a.heic a.tiff", Some("an image")),
            ("a.pdf", Some("a PDF")),
            ("a.mp3 a.wav a.ogg a.flac", Some("audio")),
            ("a.mp4 a.webm a.mov", Some("a video")),
            ("a.woff a.woff2 a.ttf a.otf a.eot", Some("a font")),
            ("a.zip a.tar.gz a.tgz a.7z a.zst", Some("an archive")),
            ("a.docx a.XLSX", Some("an office document")),
            ("a.md a.mdx a.csv a.json a.jsx a.tsx a.ts a.mts a.js a.css a.svg a.yml a.txt a.py", None),
            ("a.m3u8 LICENSE png a.unknown a.png.md .png/x", None),
        ] {
            for name in names.split(' ') {
                assert_eq!(of(name), format, "{name}");
            }
        }
    }
}
