//! Tests of rendering: what pages look like, and that hostile ones run and stall nothing.

use std::time::{Duration, Instant};

use panaversity_model::{BookId, BookPath, Layer};

use super::*;

fn shown_at(path: &str, text: &str) -> String {
    let links = BookLinks::new(&BookId::parse("ai-python").unwrap(), &Layer::Base);
    let source = PageSource { links, path: BookPath::parse(path).unwrap(), text: text.to_owned() };
    page(&source).into_string()
}

fn shown(text: &str) -> String {
    shown_at("content/01-Part/01-Chapter/01-lesson.md", text)
}

#[test]
fn a_page_is_rendered_with_its_front_matter_and_outline() {
    let html = shown("---\ntitle: One\ntags:\n  - a\n---\n# Top\n\n## Same\n\n## Same\n\nText *here*.\n");
    assert!(html.contains("<th scope=\"row\">title</th><td dir=\"auto\">One</td>"), "{html}");
    assert!(html.contains("<h2 id=\"s-top\">Top</h2>"), "{html}");
    assert!(html.contains("<h3 id=\"s-same-1\">Same</h3>"), "{html}");
    assert!(html.contains("href=\"#s-same-1\""), "{html}");
    assert!(html.contains("<em>here</em>"), "{html}");
}

#[test]
fn levels_of_headings_have_no_gaps() {
    let html = shown("### Deep\n\n# Top\n\n###### Deepest\n");
    assert!(html.contains("<h2 id=\"s-deep\">"), "{html}");
    assert!(html.contains("<h2 id=\"s-top\">") && html.contains("<h3 id=\"s-deepest\">"), "{html}");
}

#[test]
fn components_and_imports_are_shown_as_their_text() {
    let html = shown_at(
        "content/01-Part/01-Chapter/01-lesson.mdx",
        "import Tabs from '@theme/Tabs';\n\n<Tabs>\n\nInside.\n\n</Tabs>\n\n<details><summary>More</summary>x</details>\n",
    );
    assert!(html.contains("import Tabs from"), "{html}");
    assert!(html.contains("&lt;Tabs&gt;"), "{html}");
    assert!(html.contains("<details><summary>More</summary>"), "{html}");
}

#[test]
fn images_of_the_book_are_shown_and_others_are_named() {
    let html = shown(
        "![Mine](./a.png) ![Theirs](https://evil.example/b.png) <img src=\"https://evil.example/c.png\" alt=\"c\">",
    );
    assert!(html.contains("src=\"/ui/books/ai-python/bytes/content/01-Part/01-Chapter/a.png\""), "{html}");
    assert!(html.contains("Theirs (https://evil.example/b.png)"), "{html}");
    assert!(!html.contains("src=\"https://"), "{html}");
}

/// Pages that try to run something, or to leave the place that they are shown in.
const HOSTILE: [&str; 24] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<a href=\"javascript:alert(1)\">x</a> [y](javascript:alert(1)) [z](JAVASCRIPT:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=) ![x](data:image/svg+xml,<svg/onload=alert(1)>)",
    "<iframe src=//evil.example></iframe><object data=x></object><embed src=x>",
    "<style>body{background:url(//evil.example)}</style><p style=\"position:fixed;top:0\">x</p>",
    "<form action=//evil.example><input name=a><button formaction=javascript:alert(1)>x</button></form>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
    "<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<base href=//evil.example><link rel=stylesheet href=//evil.example/x.css><meta http-equiv=refresh content=\"0;url=//evil.example\">",
    "<video src=//evil.example/v.mp4 autoplay></video><audio src=//evil.example></audio><source srcset=//evil.example>",
    "<div id=main class=\"top skip\" tabindex=5>x</div><a name=main target=_top>y</a>",
    "</article></main></body><h1>Mine now</h1>",
    "<xss onclick=alert(1) style=\"behavior:url(x)\">x</xss>",
    "<details open ontoggle=alert(1)><summary onmouseover=alert(1)>x</summary></details>",
    "<a href=\"&#106;avascript:alert(1)\">x</a><a href=\"java&#9;script:alert(1)\">y</a>",
    "[x]: javascript:alert(1)\n\n[x] <javascript:alert(1)>",
    "<template><script>alert(1)</script></template><textarea></textarea><img src=x onerror=alert(1)>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]><?php echo '<script>alert(1)</script>' ?>",
    "# <script>alert(1)</script> {#\"onclick=alert(1)}\n\n## \"><img src=x onerror=alert(1)>",
    "---\ntitle: </td><script>alert(1)</script>\n\"><img src=x onerror=alert(1)>: x\n---\n\u{202e}txt",
];

/// Elements of HTML that was made, as a browser reads it, with their attributes.
fn tags(html: &str) -> Vec<String> {
    let tags =
        html.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag.to_lowercase()));
    tags.collect()
}

#[test]
fn hostile_pages_run_nothing() {
    for text in HOSTILE {
        let html = shown(text);
        for tag in tags(&html) {
            let name: String =
                tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
            for bad in [
                "script", "svg", "iframe", "object", "embed", "style", "form", "input", "button", "base",
                "link", "meta", "video", "audio", "source", "template", "textarea", "math", "xss", "h1",
                "main", "body",
            ] {
                assert_ne!(name, bad, "{text}\n{html}");
            }
            let mut attributes = tag.split_whitespace().skip(1);
            assert!(!attributes.any(|attribute| attribute.starts_with("on")), "{tag}: {text}\n{html}");
            assert!(!tag.contains("javascript:") && !tag.contains("data:text"), "{tag}: {text}\n{html}");
            assert!(!tag.contains("style=") && !tag.contains("target="), "{tag}: {text}\n{html}");
            assert!(!tag.contains("src=\"//") && !tag.contains("src=\"http"), "{tag}: {text}\n{html}");
            assert!(!tag.contains("id=\"main\""), "{tag}: {text}\n{html}");
        }
    }
}

#[test]
fn intricate_pages_stall_nothing_and_are_bounded() {
    let header: String = format!("|{}\n|{}\n", "a|".repeat(2_000), "-|".repeat(2_000));
    for (name, text) in [
        ("lines", "line\n".repeat(100_000)),
        ("one line", "x ".repeat(250_000)),
        ("quotes", ">".repeat(50_000)),
        ("nested lists", (0..300).map(|n| "  ".repeat(n) + "- x\n").collect()),
        ("brackets", "[".repeat(50_000)),
        ("links", "[a](".repeat(15_000)),
        ("emphasis", "*a _b ".repeat(10_000)),
        ("ticks", (1..300).map(|n| "`".repeat(n) + " ").collect()),
        ("wide table", header.clone() + &"|\n".repeat(20_000)),
        ("divs", "<div>".repeat(12_000)),
        ("bold", "<b>".repeat(20_000)),
        ("tables", "<table><tr><td>".repeat(4_000)),
        ("entities", "&amp;".repeat(12_000)),
        ("headings", "# a\n".repeat(15_000)),
        ("footnotes", (0..3_000).map(|n| format!("[^{n}] \n\n[^{n}]: x\n\n")).collect::<Vec<_>>().concat()),
        ("references", "[a]: /x\n".repeat(7_000) + &"[a] ".repeat(1_000)),
        ("front matter", format!("---\n{}---\nx", "a: b\n".repeat(50_000))),
        ("comment", "<!-- ".repeat(12_000)),
        ("combining", "a\u{301}\u{302}".repeat(20_000)),
    ] {
        let began = Instant::now();
        let html = shown(&text);
        // Work that grows with the square of the text would take minutes; a busy machine takes seconds.
        assert!(began.elapsed() < Duration::from_secs(30), "{name}: {:?}", began.elapsed());
        assert!(html.len() < 700_000, "{name}: {} bytes", html.len());
    }
}
