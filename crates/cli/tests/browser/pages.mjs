// Looks at the pages for people in Chromium: each page and flow, light and dark, wide and 360 pixels narrow, with
// and without JavaScript, by keyboard, and with axe-core. What a hostile book contains must run nothing, and no page
// may ask another server for anything. With a folder, also takes the pictures of the documentation.
//
// Usage: node pages.mjs SERVER-URL CHROMIUM [PICTURES-FOLDER]
//
// Where the server asks who its readers are, ADMIN_KEY, WRITER_KEY and READER_KEY are keys of agents of these names:
// then the pages are looked at by a signed-in admin, and the ways to sign in and out are tried.

import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {chromium} from 'playwright-core';
import {LESSON, RTL, write} from './books.mjs';
import {look, signedIn} from './sign-in.mjs';

const [url, executablePath, pictures] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const args = process.getuid() === 0 ? ['--no-sandbox'] : [];
const browser = await chromium.launch({executablePath, args: [...args, '--disable-dev-shm-usage']});

const {ADMIN_KEY: admin, WRITER_KEY: writer, READER_KEY: reader} = process.env;
const seen = await write(url, admin);
const book = '/ui/books/sample-book';
const path = encodeURI(LESSON);
const PAGES = {
  home: '/',
  book,
  folder: `${book}?folder=content/01-First-Steps`,
  page: `${book}/files/${path}`,
  text: `${book}/files/${path}?view=text`,
  former: `${book}/files/${path}?version=${seen.from}`,
  history: `${book}/history/${path}`,
  compare: `${book}/compare/${path}?from=${seen.from}&to=${seen.to}`,
  inline: `${book}/compare/${path}?from=${seen.from}&to=${seen.to}&view=inline`,
  blame: `${book}/blame/${path}`,
  changes: `${book}/changes`,
  change: `${book}/changes/${seen.change}`,
  assets: `${book}/assets`,
  image: `${book}/files/static/img/nest.png`,
  build: `${book}/build`,
  agent: '/ui/agents/editor-3',
  search: '/ui/search?q=nest',
  paths: '/ui/search?q=lesson&in=paths',
  audit: '/ui/audit',
  state: '/ui/state',
  missing: '/ui/books/no-such-book',
  rtl: `/ui/books/hostile/files/${encodeURI(RTL)}`,
  lines: '/ui/books/hostile/files/content/lines.md',
  table: '/ui/books/hostile/files/content/table.md',
};

/** A page of the browser that fails the run for every request elsewhere, dialog, error and broken policy. */
async function opened(options = {}, {elsewhere = false} = {}) {
  const context = await browser.newContext({storageState, ...options});
  const page = await context.newPage();
  page.on('dialog', (dialog) => assert.fail(`a dialog at ${page.url()}: ${dialog.message()}`));
  page.on('pageerror', (error) => assert.fail(`at ${page.url()}: ${error}`));
  page.on('request', (request) => assert.ok(elsewhere || request.url().startsWith(url), `${page.url()} asks ${request.url()}`));
  page.on('console', (message) => {
    const text = message.text();
    assert.ok(message.type() !== 'error' || /status of 4\d\d/.test(text), `at ${page.url()}: ${text}`);
  });
  return {context, page};
}

async function goto(page, to) {
  const answer = await page.goto(url + to, {waitUntil: 'load'});
  return answer.status();
}

/** Violations that axe-core finds on the page. */
async function violations(page) {
  await page.evaluate(axe);
  const {violations} = await page.evaluate(() => globalThis.axe.run(document, {resultTypes: ['violations']}));
  return violations.map(({id, help, nodes}) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(' ')}`);
}

// Signed out, and signing in.
let storageState;
if (admin) {
  await look({opened, violations}, url, {reader, writer});
  storageState = await signedIn(opened, url, admin);
  console.log('readers sign in by a key and at the authorization server, are told of changes, and sign out');
}

// Every page, in both schemes and widths, with axe-core.
let looked = 0;
for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 360]) {
    const {context, page} = await opened({colorScheme, viewport: {width, height: 900}});
    for (const [name, to] of Object.entries(PAGES)) {
      const status = await goto(page, to);
      assert.equal(status, name === 'missing' ? 404 : 200, name);
      assert.deepEqual(await violations(page), [], `${name}, ${colorScheme}, ${width} px`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${name} is ${overflow} px wider than ${width} px`);
      looked += 1;
    }
    await context.close();
  }
}
console.log(`axe-core found nothing on ${looked} views of ${Object.keys(PAGES).length} pages`);

// Hostile pages run nothing, and look like pages.
{
  const {context, page} = await opened();
  for (let n = 0; n < seen.hostile; n += 1) {
    await goto(page, `/ui/books/hostile/files/content/evil-${n}.md`);
    await page.waitForTimeout(50);
    assert.equal(page.url(), `${url}/ui/books/hostile/files/content/evil-${n}.md`);
    assert.equal(await page.locator('h1').count(), 1);
    assert.ok(await page.locator('header.top').isVisible(), `evil-${n} hides the page`);
    assert.equal(await page.locator('main script, main iframe, main form input[name=a], main style').count(), 0);
  }
  await goto(page, '/ui/books/hostile/changes');
  await goto(page, '/ui/audit');
  await context.close();
}

// By keyboard: the skip link comes first and leads to the content; "/" leads to the search.
{
  const {context, page} = await opened();
  await goto(page, PAGES.page);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  const stops = new Set();
  for (let n = 0; n < 40; n += 1) {
    await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const box = document.activeElement.getBoundingClientRect();
      const outline = getComputedStyle(document.activeElement).outlineStyle;
      return {name: document.activeElement.outerHTML.slice(0, 80), shown: box.width > 0, outline};
    });
    if (stop.name.startsWith('<body')) break;
    assert.ok(stop.shown && stop.outline !== 'none', `focus is not seen on ${stop.name}`);
    stops.add(stop.name);
  }
  assert.ok(stops.size > 8, `the keyboard reaches ${stops.size} places`);
  await goto(page, PAGES.home);
  await page.keyboard.press('/');
  await page.waitForURL(`${url}/ui/search`);
  await context.close();
}

// Without JavaScript: from the books to a lesson, its history, a comparison, and back to a former version.
{
  const {context, page} = await opened({javaScriptEnabled: false});
  await goto(page, '/');
  await page.getByRole('link', {name: 'sample-book'}).click();
  await page.goto(url + PAGES.page);
  await page.getByRole('link', {name: 'History'}).click();
  await page.getByRole('button', {name: 'Compare'}).click();
  assert.match(page.url(), /compare/);
  assert.ok((await page.locator('ins').count()) > 0);
  await page.getByRole('button', {name: 'Restore this version'}).click();
  await page.waitForURL(url + PAGES.page);
  const text = await page.locator('main').textContent();
  assert.ok(!text.includes('one straw at a time'), 'the former version is back');
  await goto(page, `${book}/history/${path}`);
  assert.ok((await page.locator('main').textContent()).includes('RESTORE'));
  await page.goto(`${url}/ui/search`);
  await page.getByLabel('Look for').fill('straw');
  await page.getByRole('button', {name: 'Search'}).click();
  assert.match(await page.locator('main').textContent(), /lines? in the \d+ files/);
  await context.close();
}

// Pictures.
if (pictures) {
  for (const [name, colorScheme] of [['home', 'light'], ['page', 'light'], ['compare', 'dark'], ['state', 'light']]) {
    const {context, page} = await opened({colorScheme, viewport: {width: 1200, height: 750}});
    await goto(page, PAGES[name]);
    await page.screenshot({path: join(pictures, `web-${name}.png`)});
    await context.close();
  }
}

await browser.close();
console.log('keyboard, narrow screens, dark mode, pages without JavaScript and hostile pages are as they should be');
