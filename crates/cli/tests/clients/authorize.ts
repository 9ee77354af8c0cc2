// The TypeScript SDK calls a server with authentication: without a token, with a static one, and with
// those that its OAuth client provider gets from the authorization server.
//
// Usage: authorize.ts MODE URL
// MODE is as in drive.ts. PANAVERSITY_TOKEN is a token with the scope `admin`.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import * as v2 from "@modelcontextprotocol/client";
import * as v1Auth from "@modelcontextprotocol/sdk/client/auth.js";
import * as v1 from "@modelcontextprotocol/sdk/client/index.js";
import * as v1Http from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const REDIRECT = "http://localhost/callback";
const STATIC = { Authorization: `Bearer ${process.env.PANAVERSITY_TOKEN}` };
// The requests of a login: from the first answer, which asks for a token, to the token.
const LOGIN = [
    "POST /mcp 401",
    "GET /.well-known/oauth-protected-resource/mcp 200",
    "GET /.well-known/oauth-authorization-server 200",
    "POST /register 201",
    "POST /token 200",
];
const STEP_UP = ["POST /mcp 403", "POST /token 200", "POST /mcp 200"];
const REFRESH = ["POST /mcp 401", "POST /token 200", "POST /mcp 200"];
// It reads, yet needs the scope `admin`.
const ADMINS = ["verify_audit_chain"];
const USER = "alice";
const PAGE = "content/nest.md";

const [mode, url] = process.argv.slice(2);
const isV1 = mode === "v1";
const book = `typescript-${mode}-authorized`;

// The browser and the storage of a client: who opens the login page comes back with a code.
class Login {
    readonly redirectUrl = REDIRECT;
    readonly clientMetadata = {
        client_name: "typescript-sdk",
        redirect_uris: [REDIRECT],
        grant_types: ["authorization_code", "refresh_token"],
        token_endpoint_auth_method: "none",
    };
    scopes: (string | null)[] = [];
    answer = new URLSearchParams();
    saved: Record<string, any> = {};

    state = () => (this.saved.state = randomUUID());
    clientInformation = () => this.saved.client;
    saveClientInformation = (client: object) => void (this.saved.client = client);
    tokens = () => this.saved.tokens;
    saveTokens = (tokens: object) => void (this.saved.tokens = tokens);
    codeVerifier = () => this.saved.verifier;
    saveCodeVerifier = (verifier: string) => void (this.saved.verifier = verifier);
    discoveryState = () => this.saved.discovery;
    saveDiscoveryState = (discovery: object) => void (this.saved.discovery = discovery);

    async redirectToAuthorization(page: URL) {
        this.scopes.push(page.searchParams.get("scope"));
        const { headers } = await fetch(page, { redirect: "manual" });
        this.answer = new URL(headers.get("location")!).searchParams;
        assert.equal(this.answer.get("state"), this.saved.state);
    }
}

// A client, its transport, and the requests that it has sent, each with the status of its answer.
class Connection {
    exchanges: string[] = [];
    // What the last refusal said of the way to a token.
    challenge: any;
    client: any;
    transport: any;
    readonly login?: Login;
    readonly #headers?: Record<string, string>;

    constructor({ headers, login }: { headers?: Record<string, string>; login?: Login }) {
        this.#headers = headers;
        this.login = login;
    }

    #fetch = async (target: string | URL, init?: RequestInit) => {
        const response = await fetch(target, init);
        const { pathname } = new URL(target);
        const method = init?.method ?? "GET";
        // The stream of notifications, which the SDK tries to open at any time.
        const isStream = method === "GET" && pathname === "/mcp";
        if (!isStream) this.exchanges.push(`${method} ${pathname} ${response.status}`);
        if (!response.ok && !isStream) this.challenge = v1Auth.extractWWWAuthenticateParams(response);
        return response;
    };

    async #connect() {
        const me = { name: "typescript-sdk", version: "1" };
        const negotiation = mode === "auto" || mode === "legacy" ? mode : { pin: mode };
        const http = isV1 ? v1Http.StreamableHTTPClientTransport : v2.StreamableHTTPClientTransport;
        const requestInit = { headers: this.#headers };
        const authProvider = this.login as any;
        const options = { versionNegotiation: { mode: negotiation } };
        this.client = isV1 ? new v1.Client(me) : new v2.Client(me, options);
        this.transport = new http(new URL(url), { fetch: this.#fetch, requestInit, authProvider });
        await this.client.connect(this.transport);
    }

    connect = () => this.#authorized(() => this.#connect());

    // The result of a request. An SDK that has sent its user to the login page leaves it to the program to
    // hand over the code that the user brings back, and to repeat the request.
    async #authorized<T>(request: () => Promise<T>): Promise<T> {
        try {
            return await request();
        } catch (error) {
            const hasLeft = [v1Auth, v2].some(({ UnauthorizedError }) => error instanceof UnauthorizedError);
            const isForbidden = error instanceof v1Http.StreamableHTTPError && error.code === 403;
            if (!this.login || !(hasLeft || isForbidden)) throw error;
            if (isForbidden) await this.#stepUp();
            const { answer } = this.login;
            await this.transport.finishAuth(isV1 ? answer.get("code") : answer);
            return await request();
        }
    }

    // Sends the user to the login page for the scope that a call lacked. Version 1 of the SDK does not, if
    // it has a refresh token: it takes another token of the same scope, with which it is refused again.
    async #stepUp() {
        delete this.login!.saved.tokens.refresh_token;
        const { scope, resourceMetadataUrl } = this.challenge;
        const options = { serverUrl: url, scope, resourceMetadataUrl, fetchFn: this.#fetch };
        assert.equal(await v1Auth.auth(this.login as any, options), "REDIRECT");
    }

    async call(name: string, given: object) {
        const result = await this.#authorized<any>(() => this.client.callTool({ name, arguments: given }));
        assert.ok(!result.isError, JSON.stringify(result));
        return result.structuredContent;
    }

    // Not from the SDK's cache: what is listed depends on the token.
    async tools(): Promise<any[]> {
        return (await this.client.listTools({}, { cacheMode: "refresh" })).tools;
    }
}

const names = (tools: any[]) => tools.map(({ name }) => name).sort();

async function callWithoutToken() {
    const connection = new Connection({});
    await assert.rejects(connection.connect(), /needs a token|HTTP 401/);
    assert.deepEqual([...new Set(connection.exchanges)], ["POST /mcp 401"]);
}

// All tools, and the hash of the page that is written.
async function writeWithStaticToken() {
    const connection = new Connection({ headers: STATIC });
    await connection.connect();
    const tools = await connection.tools();
    await connection.call("create_book", { book_id: book, schema: "docusaurus" });
    const page = { book_id: book, path: PAGE, content: "One straw.\n" };
    const { file_hash } = await connection.call("write_content", page);
    assert.match(String(connection.exchanges), /^(POST \/mcp 20[02],?)+$/);
    await connection.client.close();
    return { tools, hash: file_hash };
}

// The names of the tools that a token for reading lists.
async function readAfterLogin(connection: Connection, login: Login, all: any[]) {
    assert.deepEqual(connection.exchanges.slice(0, LOGIN.length), LOGIN);
    assert.deepEqual([...login.scopes, login.saved.tokens.scope], ["read", "read"]);
    const listed = names(await connection.tools());
    const reading = names(all.filter(({ annotations }) => annotations.readOnlyHint));
    assert.deepEqual(listed, reading.filter((name) => !ADMINS.includes(name)));
    const { content } = await connection.call("read_content", { book_id: book, path: PAGE });
    assert.equal(content, "One straw.\n");
    return listed;
}

async function writeAfterStepUp(connection: Connection, login: Login, all: any[], hash: string) {
    connection.exchanges.length = 0;
    const change = { book_id: book, path: PAGE, content: "Two straws.\n", expected_hash: hash };
    assert.equal((await connection.call("write_content", change)).mode, "updated");
    const { error, scope: wanted } = connection.challenge;
    assert.deepEqual([error, wanted], ["insufficient_scope", "write"]);
    // Version 1 has first tried a new token of the old scope.
    assert.deepEqual(connection.exchanges, isV1 ? [...STEP_UP.slice(0, 2), ...STEP_UP] : STEP_UP);
    const scope = isV1 ? "write" : "read write";
    assert.deepEqual([...login.scopes, login.saved.tokens.scope], ["read", scope, scope]);
    const listed = names(await connection.tools());
    assert.deepEqual(listed, names(all).filter((name) => !ADMINS.includes(name)));
    const own = { book_id: book, path: PAGE, operation: "WRITE" };
    const { entries } = await connection.call("query_audit_log", own);
    assert.deepEqual(entries.map((entry: any) => entry.agent_id), [USER]);
}

async function readAfterRefresh(connection: Connection, login: Login) {
    connection.exchanges.length = 0;
    // Refused in the same way as one that has expired.
    login.saved.tokens.access_token = "expired";
    await connection.call("read_content", { book_id: book, path: PAGE });
    assert.deepEqual(connection.exchanges, REFRESH);
    assert.equal(login.scopes.length, 2);
}

await callWithoutToken();
const { tools, hash } = await writeWithStaticToken();
const login = new Login();
const connection = new Connection({ login });
await connection.connect();
const listed = await readAfterLogin(connection, login, tools);
await writeAfterStepUp(connection, login, tools, hash);
await readAfterRefresh(connection, login);
const revision = isV1 ? "by handshake" : connection.client.getNegotiatedProtocolVersion();
const stepUp = isV1 ? "stepped up by the program" : "stepped up";
console.log(
    `${revision}, 401 without a token, ${tools.length} tools with a static one; logged in ` +
        `to read: ${listed.length} tools, 403 for a write, ${stepUp}, written; token refreshed`,
);
await connection.client.close();
