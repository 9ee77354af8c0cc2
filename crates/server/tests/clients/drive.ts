// The TypeScript SDK holds the conversation with a server: every tool, errors, resources, prompts
// and completions. It holds structured content to the tools' output schemas, that of errors too.
//
// Usage: drive.ts CONVERSATION URL | drive.ts CONVERSATION PROGRAM ARGUMENT...

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const LARGEST_PAGE = 500_000;
const INVALID_PARAMS = { code: -32602 };
const NO_RESOURCE = { code: -32002 };

type Call = {
    tool: string;
    arguments: object;
    expect?: Record<string, unknown>;
    error?: string;
    keep?: Record<string, string>;
};

const [path, ...target] = process.argv.slice(2);
const overHttp = target[0].startsWith("http");
const kept: Record<string, string> = {
    book: `typescript-${overHttp ? "http" : "stdio"}`,
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
        assert.ok(answer.error.hint, shown);
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
    await assert.rejects(client.readResource({ uri: said.missing_page }), NO_RESOURCE);
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
const client = new Client({ name: "typescript-sdk", version: "1" });
await client.connect(
    overHttp
        ? new StreamableHTTPClientTransport(new URL(target[0]))
        : new StdioClientTransport({ command: target[0], args: target.slice(1), stderr: "inherit" }),
);
const offered = (await all((params) => client.listTools(params), "tools")).map(({ name }) => name);
const driven = [...new Set<string>(calls.map(({ tool }: Call) => tool))];
assert.deepEqual(offered.sort(), driven.toSorted(), "a tool is not driven, or not there");
for (const call of calls) await make(client, call);
await assert.rejects(client.callTool({ name: "no_such_tool", arguments: {} }), INVALID_PARAMS);
const said = filled(rest);
await readPages(client, said);
await getPrompts(client, said);
console.log(`${driven.length} tools`);
await client.close();
