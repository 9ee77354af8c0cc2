// Signing in and out in Chromium, on a server that asks who its readers are: by a key, and at the authorization
// server; and the notice of a change on an open page.

import assert from 'node:assert/strict';
import {callTool} from './books.mjs';

// Another page than the one whose versions are compared and restored.
const PAGE = 'content/README.md';
const SESSION = 'panaversity_session';

/** Signs a new browser in by a key, through the form; returns what the browser keeps. */
export async function signedIn(opened, url, key) {
  const {context, page} = await opened({javaScriptEnabled: false});
  await page.goto(`${url}/ui/search?q=nest`);
  await page.getByLabel('API key or token').fill(key);
  await page.getByRole('button', {name: 'Sign in'}).click();
  await page.waitForURL(`${url}/ui/search?q=nest`);
  const kept = await context.storageState();
  const cookie = kept.cookies.find(({name}) => name === SESSION);
  assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict' && cookie.expires > 0, JSON.stringify(cookie));
  await context.close();
  return kept;
}

/** Every flow of a reader that is signed out, or is about to be. */
export async function look({opened, violations}, url, {reader, writer}) {
  const address = `${url}/ui/books/sample-book/files/${PAGE}`;
  // Signed out: a form, which a wrong key does not open.
  for (const colorScheme of ['light', 'dark']) {
    const {context, page} = await opened({colorScheme, viewport: {width: 360, height: 900}});
    assert.equal((await page.goto(address)).status(), 401);
    assert.deepEqual(await violations(page), [], 'the form');
    await page.getByLabel('API key or token').fill('pfs_nothing');
    await page.getByRole('button', {name: 'Sign in'}).click();
    assert.ok(await page.getByRole('alert').isVisible());
    assert.deepEqual(await violations(page), [], 'the form of a wrong key');
    assert.equal((await context.cookies()).length, 0);
    await context.close();
  }

  // A reader sees no button that it may not press, and is told of changes while it looks.
  {
    const {context, page} = await opened({storageState: await signedIn(opened, url, reader)});
    await page.goto(address);
    assert.ok(await page.getByText('Signed in as reader').isVisible());
    assert.equal(await page.evaluate(() => document.cookie), '', 'no script sees the cookie');
    assert.equal(await page.getByRole('button', {name: 'Restore this version'}).count(), 0);
    const book_id = 'sample-book';
    const {content, file_hash_sha256: expected_hash} = await callTool(url, 'x', 'read_content', {book_id, path: PAGE}, writer);
    await callTool(url, 'x', 'write_content', {book_id, path: PAGE, content: `${content}\nOne more straw.\n`, expected_hash}, writer);
    const notice = page.getByRole('status');
    await notice.getByText('Changed by writer just now').waitFor();
    assert.deepEqual(await violations(page), [], 'the notice');
    await notice.getByRole('link', {name: 'Show it'}).click();
    await page.getByText('One more straw.').waitFor();
    assert.equal(await page.getByRole('status').textContent(), '', 'what is shown is no news');

    await page.getByRole('button', {name: 'Sign out'}).click();
    await page.waitForURL(`${url}/ui/sign-in`);
    assert.equal((await page.goto(address)).status(), 401);
    await context.close();
  }

  // At the authorization server, which sends the browser back at once; without JavaScript too.
  for (const javaScriptEnabled of [true, false]) {
    const {context, page} = await opened({javaScriptEnabled}, {elsewhere: true});
    await page.goto(address);
    await page.getByRole('link', {name: 'Sign in at the authorization server'}).click();
    await page.waitForURL(address);
    assert.ok(await page.getByText('Signed in as ann').isVisible());
    await page.reload();
    assert.ok(await page.getByText('Signed in as ann').isVisible());
    await context.close();
  }
}
