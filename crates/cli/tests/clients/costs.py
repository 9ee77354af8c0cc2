"""Plays frequent tasks of an agent with the Python SDK, and counts the bytes that it sends and receives.

Usage: costs.py URL
PANAVERSITY_TOKEN is the token to send, if there is one. A task whose bytes exceed its bar ends the script
with 1. Counted are the arguments of each call and the text of its answer: what a model reads and writes.
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

BOOK = "costs-of-an-agent"
LESSON = "content/01-Part/01-Chapter/01-lesson.md"


def lesson():
    """A lesson of 44 KB: 12 sections of paragraphs, each sentence once in it."""
    parts = ["# Writing with agents\n"]
    for section in range(1, 13):
        parts.append(f"\n## Section {section} of the lesson\n")
        for paragraph in range(1, 13):
            sentences = [
                f"In section {section}, paragraph {paragraph}, sentence {n} tells how an agent reads and writes."
                for n in range(1, 5)
            ]
            parts.append("\n" + " ".join(sentences) + "\n")
    return "".join(parts)


class Counter:
    """A client that counts."""

    def __init__(self, client):
        self.client, self.sent, self.received = client, 0, 0

    async def call(self, tool, **arguments):
        result = await self.client.call_tool(tool, {"book_id": BOOK, **arguments})
        text = result.content[0].text
        assert not result.is_error, text
        self.sent += len(json.dumps(arguments, ensure_ascii=False).encode())
        self.received += len(text.encode())
        return json.loads(text)


async def change_a_sentence(counter):
    """Finds a sentence in a lesson that was not read, and changes it."""
    found = await counter.call("grep_search", pattern="section 7, paragraph 4, sentence 2 tells")
    place = found["matches"][0]
    edit = {
        "old_text": "In section 7, paragraph 4, sentence 2 tells how an agent reads",
        "new_text": "In section 7, paragraph 4, sentence 2 shows how an agent reads",
    }
    edited = await counter.call("edit_content", path=place["path"], edits=[edit])
    assert edited["mode"] == "updated", edited


async def rewrite_the_file(counter):
    """The same with whole files."""
    read = await counter.call("read_content", path=LESSON)
    text = read["content"].replace("paragraph 4, sentence 3 tells", "paragraph 4, sentence 3 shows", 1)
    await counter.call("write_content", path=LESSON, content=text, expected_hash=read["file_hash_sha256"])


async def learn_the_outline(counter):
    """Reads the headings of the lesson."""
    outline = await counter.call("read_content", path=LESSON, outline=True)
    assert len(outline["headings"]) == 13, outline


async def read_unchanged(counter):
    """Reads a lesson that has not changed."""
    known = (await counter.call("read_content", path=LESSON, lines="1"))["file_hash_sha256"]
    counter.sent = counter.received = 0
    answer = await counter.call("read_content", path=LESSON, if_none_match=known)
    assert answer["unchanged"] is True, answer


# Each with the most bytes that it may send and receive; the table of docs/guide/agents.md has them too.
ANY = 1_000_000
TASKS = [
    (change_a_sentence, 500, 1_000),
    (rewrite_the_file, ANY, ANY),
    (learn_the_outline, 100, 2_048),
    (read_unchanged, 200, 200),
]


async def play(url):
    token = os.environ.get("PANAVERSITY_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            write = {"book_id": BOOK, "path": LESSON, "content": lesson()}
            result = await client.call_tool("write_content", write)
            assert not result.is_error, result
            told = []
            for task, most_sent, most_received in TASKS:
                counter = Counter(client)
                await task(counter)
                told.append(f"{task.__name__.replace('_', ' ')} {counter.sent} + {counter.received}")
                if counter.sent > most_sent or counter.received > most_received:
                    sys.exit(f"{told[-1]} bytes; it may take {most_sent} + {most_received}")
            print(f"bytes sent + received: {', '.join(told)}")


asyncio.run(play(sys.argv[1]))
