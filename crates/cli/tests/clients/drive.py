"""The Python SDK holds the conversation with a server: every tool, errors, resources, prompts and
completions.

Usage: drive.py CONVERSATION MODE URL | drive.py CONVERSATION MODE PROGRAM ARGUMENT...
MODE is auto, legacy or 2026-07-28. PANAVERSITY_TOKEN is the token to send over HTTP, if there is one.
"""

import asyncio
import json
import os
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import PromptReference, ResourceTemplateReference

LARGEST_PAGE = 500_000
INVALID_PARAMS = -32602
REFERENCES = {"ref/prompt": PromptReference, "ref/resource": ResourceTemplateReference}


def filled(value, kept):
    """The value with its $names replaced."""
    if isinstance(value, dict):
        return {name: filled(part, kept) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, kept) for part in value]
    if isinstance(value, str):
        return re.sub(r"\$(\w+)", lambda name: kept[name[1]], value)
    return value


async def make(client, call, kept):
    result = await client.call_tool(call["tool"], filled(call["arguments"], kept))
    answer = result.structured_content
    assert json.loads(result.content[0].text) == answer, (call, result)
    if "error" in call:
        assert result.is_error and answer["error"]["code"] == call["error"], (call, answer)
        assert call.get("hint", "") in answer["error"]["hint"] != "", (call, answer)
        assert call.get("argument") in (None, answer["error"].get("argument")), (call, answer)
        return
    assert not result.is_error, (call, answer)
    for name, value in filled(call.get("expect", {}), kept).items():
        assert answer[name] == value, (call, answer)
    for name, field in call.get("keep", {}).items():
        assert answer[field], (call, answer)
        kept[name] = answer[field]


async def refusal_of(asked):
    """The code with which the protocol itself says no."""
    try:
        await asked
    except MCPError as error:
        return error.error.code
    return None


async def all_of(listed, field):
    """Every page of a list."""
    found, cursor = [], None
    while True:
        page = await listed(cursor=cursor)
        found += getattr(page, field)
        cursor = page.next_cursor
        if cursor is None:
            return found


async def read_pages(client, said, not_found):
    uris = {str(resource.uri) for resource in await all_of(client.list_resources, "resources")}
    assert said["page"]["uri"] in uris, uris
    templates = await all_of(client.list_resource_templates, "resource_templates")
    assert said["template"] in {template.uri_template for template in templates}, templates
    page = await client.read_resource(said["page"]["uri"])
    assert page.contents[0].text == said["page"]["text"], page
    assert await refusal_of(client.read_resource(said["missing_page"])) == not_found


async def get_prompts(client, said):
    offered = {prompt.name for prompt in await all_of(client.list_prompts, "prompts")}
    assert offered == {prompt["name"] for prompt in said["prompts"]}, offered
    for prompt in said["prompts"]:
        result = await client.get_prompt(prompt["name"], prompt["arguments"])
        assert prompt["says"] in result.messages[0].content.text, result
        assert await refusal_of(client.get_prompt(prompt["name"], {})) == INVALID_PARAMS
    for completion in said["completions"]:
        reference = REFERENCES[completion["ref"]["type"]](**completion["ref"])
        result = await client.complete(reference, completion["argument"], completion["chosen"])
        assert result.completion.values == completion["values"], (completion, result)


@asynccontextmanager
async def reachable(target, over_http):
    """The server as the SDK's client takes it: a program, a URL, or a transport that sends a token."""
    token = os.environ.get("PANAVERSITY_TOKEN")
    if not over_http:
        yield StdioServerParameters(command=target[0], args=target[1:])
    elif token is None:
        yield target[0]
    else:
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:
            yield streamable_http_client(target[0], http_client=http)


async def hold(conversation, mode, target):
    over_http = target[0].startswith("http")
    book = f"python-{mode}-{'http' if over_http else 'stdio'}"
    kept = {"book": book, "large": "x" * (LARGEST_PAGE + 1)}
    async with reachable(target, over_http) as server, Client(server, mode=mode) as client:
        offered = {tool.name for tool in await all_of(client.list_tools, "tools")}
        driven = {call["tool"] for call in conversation["calls"]}
        assert offered == driven, f"tools that are not driven, or not there: {offered ^ driven}"
        for call in (call for call in conversation["calls"] if call.get("by", "python") == "python"):
            await make(client, call, kept)
        assert await refusal_of(client.call_tool("no_such_tool", {})) == INVALID_PARAMS
        said = filled({name: part for name, part in conversation.items() if name != "calls"}, kept)
        not_found = -32002 if client.protocol_version < "2026" else INVALID_PARAMS
        await read_pages(client, said, not_found)
        await get_prompts(client, said)
        print(f"{client.protocol_version}, {len(driven)} tools")


path, mode, *target = sys.argv[1:]
asyncio.run(hold(json.loads(Path(path).read_text()), mode, target))
