// The books that the browser looks at: the sample book with a history, and a book that tries to get out of its
// pages. They are written by tools, as agents write.

const HOSTILE = [
  '<script>alert(1)</script><img src=x onerror=alert(1)>',
  '<svg onload=alert(1)><script>alert(1)</script></svg><math><mtext><style><img src=x onerror=alert(1)>',
  '[x](javascript:alert(1)) <a href="javascript:alert(1)">y</a> [z](data:text/html,<script>alert(1)</script>)',
  '<style>body{display:none}</style><p style="position:fixed;inset:0;background:red">x</p><div class="top skip">y</div>',
  '<iframe src="https://elsewhere.example"></iframe><img src="https://elsewhere.example/a.png">![b](https://elsewhere.example/b.png)',
  '<form action="https://elsewhere.example"><input name=a autofocus onfocus=alert(1)><button>x</button></form>',
  '<base href="https://elsewhere.example/"><meta http-equiv="refresh" content="0;url=https://elsewhere.example">',
  '</article></main></body><h1>Mine</h1><details open ontoggle=alert(1)><summary>x</summary></details>',
];

export const LESSON = 'content/01-First-Steps/01-Why-Write-Together/03-small-changes.md';
export const RTL = 'content/rtl/עברית.md';

/** Calls a tool, with a key where the server asks for one, and returns its result; a refusal is the end. */
export async function callTool(url, agent, name, args, key) {
  const authorization = key ? {Authorization: `Bearer ${key}`} : {};
  const answer = await fetch(`${url}/mcp`, {
    method: 'POST',
    headers: {'Content-Type': 'application/json', 'X-Agent-Id': agent, ...authorization},
    body: JSON.stringify({jsonrpc: '2.0', id: 1, method: 'tools/call', params: {name, arguments: args}}),
  });
  const {result, error} = await answer.json();
  if (error || result.isError) throw new Error(`${name}: ${JSON.stringify(error ?? result.structuredContent)}`);
  return result.structuredContent;
}

/** Writes the books; returns two hashes of the lesson and the change set between them. */
export async function write(url, key) {
  const call = (agent, name, args) => callTool(url, agent, name, args, key);
  const book_id = 'sample-book';
  const before = await call('writer-7', 'read_content', {book_id, path: LESSON});
  const edits = [{old_text: before.content.trimEnd().split('\n').at(-1), new_text: 'A robin builds its nest one straw at a time.\n\n| When | What |\n|---|---|\n| first | straw |\n| then | moss |'}];
  const set = await call('editor-3', 'apply_changes', {
    book_id,
    message: 'End the lesson with a picture of patience',
    changes: [{op: 'edit', path: LESSON, edits}],
  });
  const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
  await call('painter', 'upload_asset', {book_id, asset_type: 'img', filename: 'nest.png', binary_data: png});
  const after = await call('writer-7', 'read_content', {book_id, path: LESSON});

  await call('writer-7', 'create_book', {book_id: 'hostile', schema: 'docusaurus'});
  const changes = HOSTILE.map((text, n) => ({op: 'write', path: `content/evil-${n}.md`, content: `# Page ${n}\n\n${text}\n`}));
  changes.push({op: 'write', path: 'content/lines.md', content: 'line\n'.repeat(100_000)});
  changes.push({op: 'write', path: 'content/table.md', content: `|${'a|'.repeat(500)}\n|${'-|'.repeat(500)}\n${`|${'b|'.repeat(500)}\n`.repeat(20)}`});
  changes.push({op: 'write', path: RTL, content: '# שלום\n\nזהו ספר קטן עם `code` באמצע.\n\n## פרק שני\n\nسلام دنیا\n'});
  await call('"><script>alert(1)</script>', 'apply_changes', {book_id: 'hostile', message: '<img src=x onerror=alert(1)>', changes});
  return {from: before.file_hash_sha256, to: after.file_hash_sha256, change: set.change_id, hostile: HOSTILE.length};
}
