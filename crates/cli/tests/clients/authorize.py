"""The Python SDK calls a server with authentication: without a token, with a static one, and with those
that its OAuth client provider gets from the authorization server.

Usage: authorize.py MODE URL
MODE is as in drive.py. PANAVERSITY_TOKEN is a token with the scope `admin`.
"""

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

import httpx2
from mcp import Client, MCPError
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

REDIRECT = "http://localhost/callback"
STATIC = {"Authorization": f"Bearer {os.environ['PANAVERSITY_TOKEN']}"}
# The requests of a login: from the first answer, which asks for a token, to the token.
LOGIN = [
    "POST /mcp 401", "GET /.well-known/oauth-protected-resource/mcp 200",
    "GET /.well-known/oauth-authorization-server 200", "POST /register 201", "POST /token 200",
]
STEP_UP = ["POST /mcp 403", "POST /token 200", "POST /mcp 200"]
REFRESH = ["POST /token 200", "POST /mcp 200"]
# It reads, yet needs the scope `admin`.
ADMINS = {"verify_audit_chain"}
USER = "alice"
PAGE = "content/nest.md"


class Login:
    """The browser and the storage of a client: who opens the login page comes back with a code."""

    def __init__(self):
        self.tokens = self.client_info = self.result = None
        self.scopes = []

    async def open(self, url):
        self.scopes.append(dict(parse_qsl(urlsplit(url).query))["scope"])
        async with httpx2.AsyncClient() as browser:
            answer = await browser.get(url)
        self.result = AuthorizationCodeResult(**dict(parse_qsl(urlsplit(answer.headers["Location"]).query)))

    async def come_back(self):
        return self.result

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


class Exchanges(list):
    """The requests that a client has sent and the status of each answer."""

    async def add(self, answer):
        self.append(f"{answer.request.method} {answer.request.url.path} {answer.status_code}")


@asynccontextmanager
async def connected(url, mode, exchanges, **options):
    hooks = {"response": [exchanges.add]}
    async with httpx2.AsyncClient(event_hooks=hooks, **options) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            yield client


async def called(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    return result.structured_content


async def tools(client):
    # Not from the SDK's cache: what is listed depends on the token.
    return {tool.name: tool for tool in (await client.list_tools(cache_mode="refresh")).tools}


async def call_without_token(url, mode):
    exchanges, error = Exchanges(), None
    try:
        async with connected(url, mode, exchanges) as client:
            await client.list_tools()
    except Exception as raised:
        error = raised
    # In a group for each task group of the SDK that it has passed.
    while hasattr(error, "exceptions"):
        [error] = error.exceptions
    assert isinstance(error, MCPError) and error.error.data["code"] == "UNAUTHENTICATED", error
    assert set(exchanges) == {"POST /mcp 401"}, exchanges


async def write_with_static_token(url, mode, book):
    """All tools by name, and the hash of the page that is written."""
    exchanges = Exchanges()
    async with connected(url, mode, exchanges, headers=STATIC) as client:
        listed = await tools(client)
        await called(client, "create_book", book_id=book, schema="docusaurus")
        written = await called(client, "write_content", book_id=book, path=PAGE, content="One straw.\n")
    assert set(exchanges) <= {"POST /mcp 200", "POST /mcp 202"}, exchanges
    return listed, written["file_hash"]


async def read_after_login(client, login, exchanges, book, all_tools):
    """The names of the tools that a token for reading lists."""
    listed = set(await tools(client))
    assert exchanges[:len(LOGIN)] == LOGIN, exchanges
    assert login.scopes == [login.tokens.scope] == ["read"], login.scopes
    reading = {name for name, tool in all_tools.items() if tool.annotations.read_only_hint} - ADMINS
    assert listed == reading, listed ^ reading
    page = await called(client, "read_content", book_id=book, path=PAGE)
    assert page["content"] == "One straw.\n", page
    return listed


async def write_after_step_up(client, login, exchanges, book, file_hash, all_tools):
    exchanges.clear()
    change = {"book_id": book, "path": PAGE, "content": "Two straws.\n", "expected_hash": file_hash}
    assert (await called(client, "write_content", **change))["mode"] == "updated"
    # The SDK then looks the tool's output schema up in a new list.
    assert exchanges[:len(STEP_UP)] == STEP_UP, exchanges
    assert login.scopes == ["read", "read write"] and login.tokens.scope == "read write", login.scopes
    assert set(await tools(client)) == set(all_tools) - ADMINS
    log = await called(client, "query_audit_log", book_id=book, path=PAGE, operation="WRITE")
    assert [entry["agent_id"] for entry in log["entries"]] == [USER], log


async def read_after_refresh(client, login, exchanges, provider, book):
    exchanges.clear()
    # As if the token had expired a while ago.
    old, provider.context.token_expiry_time = login.tokens.access_token, 1
    await called(client, "read_content", book_id=book, path=PAGE)
    assert exchanges == REFRESH, exchanges
    assert login.tokens.access_token != old and len(login.scopes) == 2, login.scopes


async def main(mode, url):
    book = f"python-{mode}-authorized"
    await call_without_token(url, mode)
    all_tools, file_hash = await write_with_static_token(url, mode, book)
    login, exchanges = Login(), Exchanges()
    metadata = OAuthClientMetadata(redirect_uris=[REDIRECT], client_name="python-sdk")
    provider = OAuthClientProvider(url, metadata, login, login.open, login.come_back)
    async with connected(url, mode, exchanges, auth=provider) as client:
        listed = await read_after_login(client, login, exchanges, book, all_tools)
        await write_after_step_up(client, login, exchanges, book, file_hash, all_tools)
        await read_after_refresh(client, login, exchanges, provider, book)
        print(
            f"{client.protocol_version}, 401 without a token, {len(all_tools)} tools with a static one; "
            f"logged in to read: {len(listed)} tools, 403 for a write, stepped up, written; token refreshed"
        )


asyncio.run(main(*sys.argv[1:]))
