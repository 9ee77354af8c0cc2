//! Links of a page: Markdown links and images, reference definitions, `href` and `src` of raw HTML, imports
//! and `require` of MDX. Those in code, in comments and in expressions are none.

use pulldown_cmark::{CowStr, Event, LinkType, Parser, Tag, TagEnd};

use super::{html, modules};
use crate::markdown::{Body, OPTIONS, Ranges, expressions};
use crate::path::BookPath;

/// Syntax of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkKind {
    /// `[text](target)`
    Link,
    /// `![text](target)`
    Image,
    /// `[label]: target`
    Definition,
    /// `href="target"` or `src="target"`
    Attribute,
    /// `import x from 'target'` or `require('target')`
    Import,
}

/// A link of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageLink<'a> {
    pub(super) kind: LinkKind,
    pub(super) target: CowStr<'a>,
    /// Line of the page, from 1.
    pub(super) line: usize,
}

/// Calls `found` for each link of a page.
pub(super) fn for_each<'a>(path: &BookPath, body: Body<'a>, mut found: impl FnMut(PageLink<'a>)) {
    let mut events = Parser::new_ext(body.text, OPTIONS).into_offset_iter();
    let (mut links, mut code, mut markup) = (Vec::new(), Ranges::default(), Vec::new());
    // The text of an image holds no links: it is shown as it is.
    let mut images = 0;
    for (event, range) in events.by_ref() {
        match event {
            Event::Start(Tag::Link { link_type: LinkType::Inline, dest_url, .. }) if images == 0 => {
                links.push((range.start, LinkKind::Link, dest_url));
            }
            Event::Start(Tag::Image { link_type, dest_url, .. }) => {
                if link_type == LinkType::Inline && images == 0 {
                    links.push((range.start, LinkKind::Image, dest_url));
                }
                images += 1;
            }
            Event::End(TagEnd::Image) => images -= 1,
            Event::Start(Tag::CodeBlock(_)) | Event::Code(_) => code.push(range),
            Event::Start(Tag::HtmlBlock) | Event::InlineHtml(_) if images == 0 => markup.push(range),
            _ => {}
        }
    }
    for (_, definition) in events.reference_definitions().iter() {
        links.push((definition.span.start, LinkKind::Definition, definition.dest.clone().into_static()));
    }
    for range in markup {
        html::each_target(&body.text[range.clone()], |at, target| {
            links.push((range.start + at, LinkKind::Attribute, target));
        });
    }
    let expressions = expressions::ranges(body.text, &code, path.is_mdx());
    links.retain(|(at, ..)| expressions.around(*at).is_none());
    modules::each_target(body.text, &code, &expressions, |at, target| {
        links.push((at, LinkKind::Import, target.into()));
    });
    links.sort_by_key(|(at, ..)| *at);
    let (mut line, mut counted_to) = (body.lines_before + 1, 0);
    for (at, kind, target) in links {
        line += body.text[counted_to..at].matches('\n').count();
        counted_to = at;
        found(PageLink { kind, target, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(name: &str, text: &str) -> Vec<(LinkKind, String, usize)> {
        let mut found = Vec::new();
        let path = BookPath::parse(&format!("content/{name}")).unwrap();
        for_each(&path, Body { text, lines_before: 0 }, |link| {
            found.push((link.kind, link.target.to_string(), link.line));
        });
        found
    }

    #[test]
    fn every_syntax_of_a_link_is_found_with_its_line() {
        use LinkKind::{Attribute, Definition, Image, Import, Link};
        let page = "import A from './a';\nimport {\n  B\n} from \"./b.mdx\";\n\n[x](./x.md \"title\") ![y](<y y.png>)\n\n\
            [z][ref] and [ref] <https://x.org>\n\n[ref]: ./z.md\n\n<div>\n<a\n  href='c.md'>c</a></div>\n\n\
            Text <img src=\"d.png\" alt=\"x\"/>, <B src={require('./e.png').default} />\n\n| [t](t.md) |\n|-|\n";
        let wanted = [
            (Import, "./a", 1),
            (Import, "./b.mdx", 2),
            (Link, "./x.md", 6),
            (Image, "y y.png", 6),
            (Definition, "./z.md", 10),
            (Attribute, "c.md", 14),
            (Attribute, "d.png", 16),
            (Import, "./e.png", 16),
            (Link, "t.md", 18),
        ];
        let wanted = wanted.map(|(kind, target, line)| (kind, target.to_owned(), line));
        assert_eq!(links("x.mdx", page), wanted);
    }

    #[test]
    fn code_comments_expressions_and_footnotes_hold_no_links() {
        for page in [
            "```md\n[x](x.md)\nimport a from './a'\n```\n",
            "`[x](x.md)` ``![`](x)``",
            "    [x](x.md)\n",
            "<!-- [x](x.md) <a href=\"x.md\"> -->",
            "{/* [x](x.md) */}\n",
            "{`\n[x](x.md)`}\n",
            "[^1]: note\n\ntext[^1]\n",
            "\\[x](x.md)",
            "<a@b.org>",
            "prose\nimport the data from 'x'\n",
            "~~~\n<img src=\"x\">\n~~~",
            "![syntax ([text](url), ![](x))](https://x.org)",
        ] {
            let local =
                links("x.md", page).into_iter().filter(|(_, target, _)| !target.starts_with("https:"));
            assert_eq!(local.collect::<Vec<_>>(), [], "{page:?}");
        }
        assert_eq!(links("x.mdx", "{`\n\n[x](x.md)\n\n`}\n"), []);
        // In `.md` a lone brace is text.
        assert_eq!(links("x.md", "a { b\n\n[x](x.md)\n\nc }\n").len(), 1);
    }

    #[test]
    fn hostile_markdown_ends_soon() {
        const BYTES: usize = 500_000;
        for piece in [
            "[",
            ">",
            "*",
            "`",
            "<",
            "![",
            "- ",
            "[a](",
            "[a]: b\n",
            "> - ",
            "<a ",
            "<!--",
            "{",
            "}{",
            "{'",
            "{`",
            "import ",
            "require('",
            "<a href=\"",
            "|\n|-\n",
            "import './a'\n",
            "[x](<",
            "{`${",
            "[^a]: ",
        ] {
            links("x.mdx", &piece.repeat(BYTES / piece.len()));
        }
    }
}
