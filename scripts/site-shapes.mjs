// Writes the docs/ and static/ folders of a site that has a file of every shape: images, CSV, PDF,
// JSON, CSS and JSX beside pages, and names as people give them. Its first page imports a component
// that looks, in the browser, whether everything is there, and says so in <output id="shapes">.
//
// Usage: node site-shapes.mjs DOCS-FOLDER STATIC-FOLDER

import {mkdirSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';

const [docs, statics] = process.argv.slice(2);
// Padded behind its end, so that the build makes a file of it instead of writing it into the page.
const png = Buffer.concat([
  Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
    'base64',
  ),
  Buffer.alloc(20_000),
]);
const screenshot = 'Screenshot 2025-04-23 at 2.40.40\u202fPM.png';
const pages = ['设置（高级）.md', 'it’s new.md', 'a–b.md', '🚀 start.md', 'über uns v2.md', 'v1.0/notes.md', "c++ & 'co'.md"];
const images = [`./img/p.png`, `./img/${screenshot}`, './img/图（一）.png', '/img/logo.svg', `/img/${screenshot}`];

function put(folder, name, content) {
  const file = join(folder, name);
  mkdirSync(dirname(file), {recursive: true});
  writeFileSync(file, content);
}

put(
  docs,
  'index.mdx',
  `---
slug: /
---

import Check from './comp.jsx';

# Shapes

${images.map((image, n) => `![image ${n}](<${image}>)`).join('\n\n')}

[The data](./data.csv), [the manual](./manual.pdf).

${pages.map((page) => `- [${page.replace(/[^a-z0-9]/gi, ' ').trim() || 'page'}](<./${page}>)`).join('\n')}

<Check images={${images.length}} pages={${pages.length}} />
`,
);
put(
  docs,
  'comp.jsx',
  `import {useEffect, useState} from 'react';
import styles from './styles.module.css';
import label from './label.json';

/** Counts what the browser really gets. */
export default function Check({images, pages}) {
  const [said, say] = useState('looking');
  useEffect(() => {
    const look = async () => {
      const article = document.querySelector('article');
      const shown = Array.from(article.querySelectorAll('img'));
      await Promise.all(shown.map((image) => image.decode().catch(() => undefined)));
      const decoded = shown.filter((image) => image.naturalWidth > 0).length;
      const links = Array.from(article.querySelectorAll('li a'));
      const opened = await Promise.all(
        links.map(async (link) => {
          const answer = await fetch(link.href);
          return answer.ok && (await answer.text()).includes('This page has an odd name');
        }),
      );
      const csv = await (await fetch(article.querySelector('a[href$=".csv"]').href)).text();
      const pdf = await (await fetch(article.querySelector('a[href$=".pdf"]').href)).text();
      const isThere = [
        \`images \${decoded} of \${images}\`,
        \`pages \${opened.filter(Boolean).length} of \${pages}\`,
        \`csv \${csv.trim()}\`,
        pdf.startsWith('%PDF') ? 'pdf' : 'no pdf',
      ];
      say(isThere.join('; '));
    };
    look().catch((error) => say(String(error)));
  }, []);
  return (
    <output id="shapes" className={styles.shapes}>
      {label.label}: {said}
    </output>
  );
}
`,
);
put(docs, 'styles.module.css', '.shapes { font-weight: bold }\n');
put(docs, 'label.json', '{"label": "seen"}\n');
put(docs, 'data.csv', 'a,b\n1,2\n');
put(docs, 'manual.pdf', Buffer.concat([Buffer.from('%PDF-1.4\n'), Buffer.alloc(1_800_000, 0xff)]));
put(docs, 'tags.yml', 'odd:\n  label: Odd\n');
put(docs, 'v1.0/_category_.json', '{"label": "1.0"}\n');
for (const page of pages) {
  put(docs, page, `---\ntags: [odd]\n---\n\n# A page\n\nThis page has an odd name.\n`);
}
for (const image of images) {
  const [folder, name] = image.startsWith('./') ? [docs, image.slice(2)] : [statics, image.slice(1)];
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><path d="M0 0h1v1z"/></svg>';
  put(folder, name, name.endsWith('.svg') ? svg : png);
}
put(statics, '.nojekyll', '');
put(statics, '.well-known/security.txt', 'Contact: mailto:books@example.com\n');
put(statics, 'CNAME', 'books.example.com\n');
