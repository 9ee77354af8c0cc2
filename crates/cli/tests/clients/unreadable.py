"""Says byte for byte what no SDK says, and looks at the answers.

Usage: unreadable.py MESSAGES URL | unreadable.py MESSAGES PROGRAM ARGUMENT...
PANAVERSITY_TOKEN is the token to send over HTTP, if there is one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote_to_bytes
from urllib.request import Request, urlopen

HELLO = {
    "jsonrpc": "2.0", "id": 0, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}


def post(url, text, **headers):
    """The answer to a body."""
    token = os.environ.get("PANAVERSITY_TOKEN")
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    request = Request(url, text, {"Content-Type": "application/json", **bearer, **headers})
    try:
        return json.load(urlopen(request))
    except HTTPError as error:
        return json.load(error)


def over_stdio(program, texts):
    """The answers to lines, by their ids; those of no id in their order. The last line has no end."""
    said = b"\n".join([json.dumps(HELLO).encode(), *texts])
    done = subprocess.run(program, input=said, capture_output=True, timeout=60, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert b"WARNING" in done.stderr and b"caf" not in done.stderr, done.stderr
    return answers[1:]


def check(message, answer):
    shown = (message["text"], answer)
    assert answer["id"] == message["id"], shown
    if "code" in message:
        assert answer["error"]["code"] == message["code"] and answer["error"]["message"], shown
        return
    error = answer["result"]["structuredContent"]["error"]
    assert answer["result"]["isError"] and error["code"] == "INVALID_ARGUMENT", shown
    assert error["argument"] == message["argument"] and error["hint"], shown


path, *target = sys.argv[1:]
messages = json.loads(Path(path).read_text())["messages"]
texts = [unquote_to_bytes(message["text"]) for message in messages]
if target[0].startswith("http"):
    answers = [post(target[0], text) for text in texts]
    unknown = post(target[0], b'{"jsonrpc":"2.0","id":1,"method":"ping"}', **{"MCP-Protocol-Version": "2099-01-01"})
    assert unknown["id"] == 1 and unknown["error"]["code"] == -32022, unknown
    assert "2026-07-28" in unknown["error"]["data"]["supported"], unknown
else:
    answers = over_stdio(target, texts)
for message in messages:
    found = [answer for answer in answers if answer["id"] == message["id"]]
    assert found, (message, answers)
    check(message, found[0])
    answers.remove(found[0])
assert not answers, answers
print(f"{len(messages)} messages that no SDK says")
