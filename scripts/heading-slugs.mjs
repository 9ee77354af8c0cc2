// Writes the test vectors of the slugs: crates/model/src/outline/fixtures/*.json, as github-slugger and
// Docusaurus make them. To run again when the site of examples/docusaurus-site gets a newer Docusaurus.
//
// Usage: node scripts/heading-slugs.mjs FOLDER    FOLDER holds node_modules with the packages of
//                                                 examples/docusaurus-site (target/site has after `make site`)
//
// Needs Perl, which knows the characters of Unicode 13, by which github-slugger goes.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const folder = resolve(process.argv[2] ?? "target/site");
const require = createRequire(join(folder, "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const fixtures = join(dirname(fileURLToPath(import.meta.url)), "../crates/model/src/outline/fixtures");

const TITLES = [
  ["Hello World!", "Hello World!", "hello-world-1", "Hello World!", "hello-world"],
  ["a", "a-1", "a", "a", "a-1-1", "a-1"],
  ["", "", "-", "!", "?", "--"],
  ["ÜBER straße", "Σίσυφος ΑΣ", "İstanbul", "DŽ ǅ", "ﬁn"],
  ["1️⃣ emoji 🎉 done", "👩‍👩‍👧 family", "🎉", "©®™"],
  ["² ½ Ⅷ ① ٣ Ⓐ", "x²", "H₂O", "日本語、テスト。", "Привет, мир", "ไทย", "हिन्दी"],
  ["a  b\tc\u00a0d\u2003e", "a_b‿c＿d", "a-b–c—d", "tab\nline"],
  ["constructor", "__proto__", "toString", "hasOwnProperty", "constructor"],
  ["What's \"new\"? & co — now…", "`code` (and) [brackets] {braces} <tags>", "C# & C++", "10:30 / 11.45"],
  ["e\u0301 and é", "a\u200db", "\ufeffx", "x\u00ady"],
];

const PAGES = {
  plain: "# One\n\ntext\n\n## Two\n\n### Three\n\n## Two\n\n# One\n",
  front_matter: "---\ntitle: x\n# no: heading\n---\n\n# One\n\n---\n# two: heading\n---\n",
  ids: "# `code()` and *emph* {#my-id}\n## Comment {/* #other-id */}\n## Closed {#closed} ##\n## Closed too {/* #closed-too */} ##\n"
    + "## Spaces {#  a b  }\n## Empty {#}\n## In code `{#no}`\n## Middle {#no} here\n"
    + "## Written \\{#escaped}\n## Again {#my-id}\n## my id\n## my-id\n## Note {/* no id */}\n## Note {/* #a b */}\n"
    + "## Only {#x}\n## {#only-id}\n## {/* #only-comment */}\n",
  inline: "## [link](http://x) ![alt *text*](y.png)\n## x_y__z `a_b` __bold__ ~~gone~~\n## &amp; &copy; &#35;\n## \\#tag \\*x\\*\n"
    + "## <b>bold</b> tag\n## a<br/>b\n## {1 + 1} done\n## Foo ##\n##\n## #\n####### seven\n#none\n",
  directives: "## Note:important\n## foo:bar-baz:\n## std::vec and a:b c:d\n## Time 10:30\n## :start\n## a:b-\n## `x:y`:z\n## x: y\n",
  setext: "One\n===\n\nTwo words\n---\n\nover\nthree *lines\nof* text\n---\n\n- item\n---\n\n> quote\n---\n",
  nested: "> # Quoted\n> text\n\n- # In a list\n  - ## Deeper\n\n1. ### Numbered\n\n:::note Title\n\n## Inside\n\n:::\n\n:::tip\n## Close\n:::\n",
  no_headings: "```md\n# a\n```\n\n~~~\n# b\n~~~\n\n<!-- \n# c\n-->\n\n{/*\n# d\n*/}\n\n`# e\n# f`\n\n\\# g\n\n````\n```\n# h\n```\n````\n\n# Real\n",
  jsx: "import Tabs from '@theme/Tabs';\n\n# Top\n\n<Tabs>\n<TabItem value=\"a\">\n\n## Blank around\n\n</TabItem>\n<TabItem value=\"b\">\n## Close\n"
    + "```bash\n# comment\n\n# another\n```\n</TabItem>\n</Tabs>\n\n<Quiz\n  questions={[\n    {\n      text: `\n# no heading\n`,\n    },\n  ]}\n/>\n\n## End\n",
  windows: "\ufeff---\r\ntitle: x\r\n---\r\n\r\n# One\r\n\r\nSetext\r\n======\r\n\r\n```\r\n# code\r\n```\r\n## Two {#id}\r\n## Two",
};

function slugs(GithubSlugger) {
  const pages = TITLES.map((titles) => {
    const slugger = new GithubSlugger();
    return titles.map((title) => [title, slugger.slug(title)]);
  });
  const ranges = (holds) => {
    const found = [];
    for (let code = 0; code <= 0x10ffff; code += 1) {
      if (!holds(code)) continue;
      if (found.at(-1)?.[1] === code - 1) found.at(-1)[1] = code;
      else found.push([code, code]);
    }
    return found;
  };
  const isSurrogate = (code) => code >= 0xd800 && code <= 0xdfff;
  const kept = ranges((code) => !isSurrogate(code) && GithubSlugger.slug(String.fromCodePoint(code), true) !== "");
  const perl = 'binmode STDOUT; for (0..0x10FFFF) { print chr($_) =~ /\\p{In=13.0}/ ? "1" : "0" }';
  const assigned = execFileSync("perl", ["-e", perl], { maxBuffer: 1 << 22 });
  const unassigned = ranges((code) => assigned[code] === 0x30 && !isSurrogate(code));
  return { pages, kept, unassigned };
}

/// The headings of a page after Docusaurus's own plugins, up to the one that gives the ids.
async function headings(page) {
  const plugin = (name) => require(join(dirname(require.resolve("@docusaurus/mdx-loader")), `remark/${name}`)).default;
  const utils = require("@docusaurus/utils");
  const { default: matter } = await load("@11ty/gray-matter");
  const { createProcessor } = await load("@mdx-js/mdx");
  const plugins = ["remark-frontmatter", "remark-directive", "remark-gfm", "@slorber/remark-comment"];
  const [frontmatter, directive, gfm, comment] = (await Promise.all(plugins.map(load))).map((module) => module.default);
  const { visit } = await load("unist-util-visit");
  const content = matter(page).content;
  const linesBefore = page.slice(0, page.length - content.length).split("\n").length - 1;
  const found = [];
  const collect = () => (root) => visit(root, "heading", (node) => {
    found.push({ level: node.depth, slug: node.data.id, first_line: node.position.start.line + linesBefore });
  });
  const processor = createProcessor({
    format: "mdx",
    remarkPlugins: [
      frontmatter, directive, [plugin("contentTitle"), { removeContentTitle: false }], plugin("admonitions"),
      [plugin("headings"), { anchorsMaintainCase: false }], collect, gfm, comment,
    ],
  });
  await processor.run(processor.parse(utils.escapeMarkdownHeadingIds(content)), page);
  return found;
}

const json = (value) => `${JSON.stringify(value, null, 1).replaceAll(/\[\s+([^\[\]{}]+?),\s+([^\[\]{}]+?)\s+\]/g, "[$1, $2]")}\n`;
const { default: GithubSlugger } = await load("github-slugger");
writeFileSync(join(fixtures, "github_slugger.json"), json(slugs(GithubSlugger)));
const pages = {};
for (const [name, page] of Object.entries(PAGES)) {
  pages[name] = { page, headings: await headings(page) };
}
writeFileSync(join(fixtures, "docusaurus.json"), json(pages));
