"""Transcripts of tool calls: `tool {arguments} -> {answer}`, as JSON in which `…` stands for what is left out.

In arguments `…` (or `…same…`) stands for the file of the call before, and a cut hash for that of a content which
the guide shows. In an answer `…` stands for further fields, and, in a text, for any further letters.
"""
import hashlib
import json
import re

CALL = re.compile(r"^(\w+)\s+(\{.*?\})\s+->\s+(\{.*?\})\s*(?=^\w|\Z)", re.S | re.M)
LEFT_OUT = re.compile(r'("(?:[^"\\]|\\.)*")|…(?:same…)?\s*,?\s*', re.S)

# The arguments that name the file; a call that goes on has its own content and precondition.
LASTING = ("book_id", "path", "user_id")


def parsed(text):
    """JSON without what is left out, and whether something is."""
    plain = LEFT_OUT.sub(lambda found: found[1] or "", text)
    return json.loads(re.sub(r",\s*\}", "}", plain), strict=False), plain != text


def contents(value):
    """All texts below a field `content`."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "content" and isinstance(inner, str):
                yield inner
            yield from contents(inner)


def whole(value, hashes):
    """A hash that a transcript has cut, in full."""
    if isinstance(value, str) and value.endswith("…"):
        return next(full for full in hashes if full.startswith(value[:-1]))
    return value


class Transcript:
    """The calls of one guide, over all its blocks."""

    def __init__(self):
        self.before, self.hashes = {}, []

    def calls(self, text):
        """Each call of a block as a command and the answer that is shown."""
        found = [(tool, parsed(arguments), parsed(answer)[0]) for tool, arguments, answer in CALL.findall(text)]
        if not found or CALL.sub("", text).strip():
            raise ValueError(f"this is no transcript: {CALL.sub('', text).strip() or text}")
        for _, (arguments, _), answer in found:
            shown = [*contents(arguments), *contents(answer)]
            self.hashes += [hashlib.sha256(content.encode()).hexdigest() for content in shown]
        for tool, (arguments, goes_on), answer in found:
            given = {name: whole(value, self.hashes) for name, value in arguments.items()}
            if goes_on:
                given = {name: value for name, value in self.before.items() if name in LASTING} | given
            self.before = given
            yield command(tool, given), answer


def command(tool, arguments):
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    return f"""curl -sS http://localhost:8000/mcp -H 'Content-Type: application/json' -d @- <<'CALL'
{json.dumps(call)}
CALL"""
