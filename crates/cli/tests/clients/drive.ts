// The TypeScript SDK holds the conversation with a server: every tool, errors, resources, prompts
// and completions. It holds structured content to the tools' output schemas, version 1 that of
// errors too.
//
// Usage: drive.ts CONVERSATION MODE URL | drive.ts CONVERSATION MODE PROGRAM ARGUMENT...
// MODE is v1 for version 1 of the SDK; auto, legacy or 2026-07-28 for version 2. PANAVERSITY_TOKEN is
// the token to send over HTTP, if there is one.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as v2 from "@modelcontextprotocol/client";
import * as v2Stdio from "@modelcontextprotocol/client/stdio";
import * as v1 from "@modelcontextprotocol/sdk/client/index.js";
import * as v1Stdio from "@modelcontextprotocol/sdk/client/stdio.js";
import * as v1Http from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const LARGEST_PAGE = 500_000;
const INVALID_PARAMS = { code: -32602 };
const NO_RESOURCE = { code: -32002 };

type Client = v1.Client | v2.Client;

type Call = {
    tool: string;
    arguments: object;
    expect?: Record<string, unknown>;
    error?: string;
    argument?: string;
    hint?: string;
    by?: string;
    keep?: Record<string, string>;
};

const [path, mode, ...target] = process.argv.slice(2);
const overHttp = target[0].startsWith("http");
const kept: Record<string, string> = {
    book: `typescript-${mode}-${overHttp ? "http" : "stdio"}`,
    large: "x".repeat(LARGEST_PAGE + 1),
};

// The value with its $names replaced.
const filled = <T>(value: T): T => JSON.parse(JSON.stringify(value).replace(/\$(\w+)/g, (_, name) => kept[name]));

async function make(client: Client, call: Call) {
    const result: any = await client.callTool({ name: call.tool, arguments: { ...filled(call.arguments) } });
    const answer = result.structuredContent;
    const shown = JSON.stringify({ call, answer });
    assert.deepEqual(JSON.parse(result.content[0].text), answer, shown);
    if (call.error) {
        assert.equal(result.isError, true, shown);
        assert.equal(answer.error.code, call.error, shown);
        assert.ok(answer.error.hint && answer.error.hint.includes(call.hint ?? ""), shown);
        if (call.argument) assert.equal(answer.error.argument, call.argument, shown);
        return;
    }
    assert.ok(!result.isError, shown);
    for (const [name, value] of Object.entries(filled(call.expect ?? {}))) assert.deepEqual(answer[name], value, shown);
    for (const [name, field] of Object.entries(call.keep ?? {})) {
        assert.ok(answer[field], shown);
        kept[name] = answer[field];
    }
}

// Every page of a list.
async function all(list: (params: { cursor?: string }) => Promise<any>, field: string): Promise<any[]> {
    const found: any[] = [];
    let cursor: string | undefined;
    do {
        const page = await list({ cursor });
        found.push(...page[field]);
        cursor = page.nextCursor;
    } while (cursor);
    return found;
}

async function readPages(client: Client, said: any) {
    const uris = (await all((params) => client.listResources(params), "resources")).map(({ uri }) => uri);
    assert.ok(uris.includes(said.page.uri), String(uris));
    const templates = await all((params) => client.listResourceTemplates(params), "resourceTemplates");
    assert.ok(templates.some(({ uriTemplate }) => uriTemplate === said.template), JSON.stringify(templates));
    const { contents } = await client.readResource({ uri: said.page.uri });
    assert.deepEqual((contents[0] as { text: string }).text, said.page.text);
    // Version 2 reports both codes, of then and now, as this one.
    const notFound = mode === "v1" ? NO_RESOURCE : INVALID_PARAMS;
    await assert.rejects(client.readResource({ uri: said.missing_page }), notFound);
}

async function getPrompts(client: Client, said: any) {
    const offered = (await all((params) => client.listPrompts(params), "prompts")).map(({ name }) => name);
    assert.deepEqual(offered.sort(), said.prompts.map(({ name }) => name).sort());
    for (const { name, arguments: given, says } of said.prompts) {
        const { messages } = await client.getPrompt({ name, arguments: given });
        const { text } = messages[0].content as { text: string };
        assert.ok(text.includes(says), text);
        await assert.rejects(client.getPrompt({ name, arguments: {} }), INVALID_PARAMS);
    }
    for (const { ref, argument, chosen, values } of said.completions) {
        const { completion } = await client.complete({ ref, argument, context: { arguments: chosen } });
        assert.deepEqual(completion.values, values);
    }
}

const { calls, ...rest } = JSON.parse(readFileSync(path, "utf8"));
const me = { name: "typescript-sdk", version: "1" };
const program = { command: target[0], args: target.slice(1), stderr: "inherit" as const };
const negotiation = mode === "auto" || mode === "legacy" ? mode : { pin: mode };
const client: Client =
    mode === "v1" ? new v1.Client(me) : new v2.Client(me, { versionNegotiation: { mode: negotiation } });
const http = mode === "v1" ? v1Http.StreamableHTTPClientTransport : v2.StreamableHTTPClientTransport;
const stdio = mode === "v1" ? v1Stdio.StdioClientTransport : v2Stdio.StdioClientTransport;
const token = process.env.PANAVERSITY_TOKEN;
const requestInit = token ? { headers: { Authorization: `Bearer ${token}` } } : {};
await (client as any).connect(overHttp ? new http(new URL(target[0]), { requestInit }) : new stdio(program));
const offered = (await all((params) => client.listTools(params), "tools")).map(({ name }) => name);
const driven = [...new Set<string>(calls.map(({ tool }: Call) => tool))];
assert.deepEqual(offered.sort(), driven.toSorted(), "a tool is not driven, or not there");
for (const call of calls.filter(({ by }: Call) => by === undefined || by === "typescript")) await make(client, call);
await assert.rejects(client.callTool({ name: "no_such_tool", arguments: {} }), INVALID_PARAMS);
const said = filled(rest);
await readPages(client, said);
await getPrompts(client, said);
const revision = client instanceof v2.Client ? client.getNegotiatedProtocolVersion() : "by handshake";
console.log(`${revision}, ${driven.length} tools`);
await client.close();
