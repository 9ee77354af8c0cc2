"""An agent restructures a chapter beside three others that edit its sentences, with the Python SDK; at the
end no sentence and no edit is lost.

Usage: restructure.py URL [FOLDER]
FOLDER holds the chapter's lessons (`*.md`); without it they are made up. PANAVERSITY_TOKEN is the token to
send, if there is one. Every sentence that the others edit is a line of its own with a number.
"""

import asyncio
import os
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

BOOK = f"restructured-{os.getpid()}"
OLD, NEW = "content/01-Part/01-Old", "content/01-Part/02-New"
WRITERS, EDITS = 3, 25
AGAIN = {"CONFLICT", "HASH_REQUIRED", "EDIT_NOT_UNIQUE", "NOT_FOUND"}
MARK = re.compile(r"^Sentence (\d+\.\d+) is (.*)\.$", re.MULTILINE)


def lessons(folder):
    """Six lessons, each with numbered sentences between its paragraphs."""
    if folder:
        texts = [path.read_text(encoding="utf-8") for path in sorted(Path(folder).glob("*.md"))[:6]]
        assert len(texts) == 6, f"{folder} has fewer than six lessons"
    else:
        texts = [f"# Lesson {n}\n\n" + "\n\n".join(f"Paragraph {p} of {n}." for p in range(40)) for n in range(6)]
    for number, text in enumerate(texts):
        parts = text.split("\n\n")
        step = max(1, len(parts) // 20)
        marked = []
        for at, part in enumerate(parts):
            marked.append(part)
            if at % step == 0 and at // step < 20:
                marked.append(f"Sentence {number}.{at // step} is as it was.")
        yield "\n\n".join(marked)


class Agent:
    """A client under the name of one agent."""

    def __init__(self, client):
        self.client, self.refused = client, 0

    async def call(self, tool, **arguments):
        """The answer, and the code of the refusal if it is one."""
        result = await self.client.call_tool(tool, {"book_id": BOOK, **arguments})
        answer = result.structured_content
        code = answer["error"]["code"] if result.is_error else None
        assert code is None or code in AGAIN, (tool, arguments, answer)
        self.refused += code is not None
        return answer, code

    async def until_done(self, attempt):
        for _ in range(200):
            if await attempt():
                return
        sys.exit("an agent did not get its change in after 200 attempts")


async def edit_sentences(agent, writer, sentences, done):
    """Finds and edits every third sentence, wherever it is by now."""
    for number in sentences[writer::WRITERS][:EDITS]:
        async def attempt(number=number):
            found, _ = await agent.call("grep_search", pattern=f"^Sentence {re.escape(number)} is ")
            if not found["matches"]:
                return False
            old = f"Sentence {number} is as it was."
            edit = {"old_text": old, "new_text": f"Sentence {number} is by writer {writer}."}
            _, code = await agent.call("edit_content", path=found["matches"][0]["path"], edits=[edit])
            return code is None

        await agent.until_done(attempt)
        done[number] = f"by writer {writer}"


async def restructure(agent, paths):
    """Moves the lessons, splits the first and joins the last two, each as one change set."""
    moved = [path.replace(OLD, NEW) for path in paths]
    for path, to in zip(paths, moved):
        async def move(path=path, to=to):
            changes = [{"op": "move", "path": path, "to": to}]
            _, code = await agent.call("apply_changes", changes=changes, message="Move the chapter")
            return code is None

        await agent.until_done(move)

    async def split():
        read, _ = await agent.call("read_content", path=moved[0])
        parts = read["content"].split("\n\n")
        half = len(parts) // 2
        first, second = "\n\n".join(parts[:half]) + "\n", "\n\n".join(parts[half:])
        changes = [
            {"op": "write", "path": moved[0], "content": first, "expected_hash": read["file_hash_sha256"]},
            {"op": "write", "path": f"{NEW}/09-rest.md", "content": second},
        ]
        _, code = await agent.call("apply_changes", changes=changes, message="Split the first lesson")
        return code is None

    async def join():
        reads = [(await agent.call("read_content", path=path))[0] for path in moved[-2:]]
        joined = "\n\n".join(read["content"] for read in reads)
        hashes = [read["file_hash_sha256"] for read in reads]
        changes = [
            {"op": "write", "path": moved[-2], "content": joined, "expected_hash": hashes[0]},
            {"op": "delete", "path": moved[-1], "expected_hash": hashes[1]},
        ]
        _, code = await agent.call("apply_changes", changes=changes, message="Join the last lessons")
        return code is None

    await agent.until_done(split)
    await agent.until_done(join)


@asynccontextmanager
async def connected(url, name):
    token = os.environ.get("PANAVERSITY_TOKEN")
    headers = {"X-Agent-Id": name} | ({"Authorization": f"Bearer {token}"} if token else {})
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            yield Agent(client)


async def whole_book(agent):
    """All files of the book, by path."""
    files, cursor = {}, ""
    while cursor is not None:
        page, _ = await agent.call("read_content", scope="book", cursor=cursor)
        files |= {file["path"]: file["content"] for file in page["files"]}
        cursor = page.get("next_cursor")
    return files


async def play(url, folder):
    texts = list(lessons(folder))
    paths = [f"{OLD}/{n + 1:02}-lesson.md" for n in range(len(texts))]
    async with connected(url, "restructurer") as chief:
        changes = [{"op": "write", "path": path, "content": text} for path, text in zip(paths, texts)]
        await chief.call("apply_changes", changes=changes)
        sentences = [number for text in texts for number, _ in MARK.findall(text)]
        done = {}

        async def writer(n):
            async with connected(url, f"writer-{n}") as agent:
                await edit_sentences(agent, n, sentences, done)
                return agent.refused

        refused = await asyncio.gather(*(writer(n) for n in range(WRITERS)), restructure(chief, paths))
        files = await whole_book(chief)
        found = [pair for text in files.values() for pair in MARK.findall(text)]
        assert sorted(number for number, _ in found) == sorted(sentences), "a sentence is lost or doubled"
        states = dict(found)
        assert all(states[number] == state for number, state in done.items()), "an edit is lost"
        words = lambda all_texts: sorted(re.sub(r"(?m)^Sentence .*$", "", "\n".join(all_texts)).split())
        assert words(files.values()) == words(texts), "a word of the lessons is lost"
        assert not any(path.startswith(OLD) for path in files), sorted(files)
        verified, _ = await chief.call("verify_audit_chain")
        assert verified["valid"], verified
        again = sum(filter(None, refused)) + chief.refused
        print(f"{len(files)} files, {len(done)} edits and {len(paths) + 2} change sets kept, {again} tried again")


asyncio.run(play(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
