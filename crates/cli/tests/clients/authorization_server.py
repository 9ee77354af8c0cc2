"""OAuth 2.1 authorization server for tests: it approves every login at once, in the name of one user,
and signs access tokens (RFC 9068) with a key that it makes at its start.

It serves its metadata (RFC 8414) and key set, dynamic client registration (RFC 7591), the
authorization code grant with PKCE, refresh tokens, and client credentials. A token holds the scopes
that were asked for, for the resource that was named (RFC 8707). Errors of /authorize are not
redirected: nobody but the tests reads them.

Usage: authorization_server.py
It listens on a free port of 127.0.0.1 and prints its URL.
"""

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

USER = "alice"
KEY_ID = "of-the-tests"
LIFETIME = 3600
AUTH_METHODS = ["none", "client_secret_basic"]
GRANT_TYPES = ["authorization_code", "refresh_token", "client_credentials"]


class OAuthError(Exception):
    """A refusal with an error code of RFC 6749, section 5.2."""

    def __init__(self, code, status=400):
        super().__init__(code)
        self.status = status


@dataclass(frozen=True)
class Grant:
    """The right to tokens: of a client, for a subject, a scope and a resource. A code's has more."""

    client_id: str
    subject: str
    scope: str
    resource: str
    redirect_uri: str = ""
    code_challenge: str = ""


def require(condition, code, status=400):
    if not condition:
        raise OAuthError(code, status)


def s256(verifier):
    """The PKCE challenge of a verifier (RFC 7636, section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def basic_credentials(header):
    """Name and secret of an `Authorization: Basic` header (RFC 6749, section 2.3.1)."""
    scheme, _, encoded = header.partition(" ")
    require(scheme.lower() == "basic", "invalid_client", 401)
    name, _, secret = base64.b64decode(encoded).decode().partition(":")
    return unquote(name), unquote(secret)


class AuthorizationServer(ThreadingHTTPServer):
    """The clients, codes and refresh tokens of one run."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.clients, self.codes, self.refresh_tokens = {}, {}, {}

    def metadata(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "registration_endpoint": f"{self.issuer}/register",
            "jwks_uri": f"{self.issuer}/.well-known/jwks.json",
            "response_types_supported": ["code"],
            "grant_types_supported": GRANT_TYPES,
            "token_endpoint_auth_methods_supported": AUTH_METHODS,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def key_set(self):
        key = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": KEY_ID, "use": "sig", "alg": "ES256"}]}

    def register(self, metadata):
        """A new client; it gets a secret unless it asks for none."""
        client = {
            "redirect_uris": [],
            "grant_types": ["authorization_code"],
            "token_endpoint_auth_method": "client_secret_basic",
            **metadata,
            "client_id": secrets.token_hex(8),
        }
        require(client["token_endpoint_auth_method"] in AUTH_METHODS, "invalid_client_metadata")
        require(set(client["grant_types"]) <= set(GRANT_TYPES), "invalid_client_metadata")
        if client["token_endpoint_auth_method"] != "none":
            client |= {"client_secret": secrets.token_hex(16), "client_secret_expires_at": 0}
        self.clients[client["client_id"]] = client
        return client

    def authorize(self, query):
        """The redirection with a code, for a login that the user approves."""
        client = self.clients.get(query.get("client_id"))
        require(client, "invalid_request")
        require(query.get("redirect_uri") in client["redirect_uris"], "invalid_request")
        require(query.get("response_type") == "code", "unsupported_response_type")
        require(query.get("code_challenge_method") == "S256", "invalid_request")
        require(query.get("code_challenge"), "invalid_request")
        require(query.get("resource"), "invalid_target")
        require(query.get("scope"), "invalid_scope")
        code = secrets.token_urlsafe()
        self.codes[code] = Grant(
            client["client_id"], USER, query["scope"], query["resource"], query["redirect_uri"],
            query["code_challenge"],
        )
        answer = {"code": code, "iss": self.issuer} | ({"state": query["state"]} if "state" in query else {})
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def token(self, form, authorization):
        """The tokens of a grant. Codes and refresh tokens are good for once."""
        client = self.authenticated(form, authorization)
        grant_type = form.get("grant_type")
        require(grant_type in client["grant_types"], "unauthorized_client")
        if grant_type == "client_credentials":
            require(client["token_endpoint_auth_method"] != "none", "unauthorized_client")
            name = client["client_id"]
            grant = Grant(name, name, form.get("scope", ""), form.get("resource", ""))
        elif grant_type == "authorization_code":
            grant = self.codes.pop(form.get("code"), None)
            require(grant and grant.redirect_uri == form.get("redirect_uri"), "invalid_grant")
            require(grant.code_challenge == s256(form.get("code_verifier", "")), "invalid_grant")
        else:
            grant = self.refresh_tokens.pop(form.get("refresh_token"), None)
            require(grant, "invalid_grant")
            wanted = form.get("scope", grant.scope)
            require(set(wanted.split()) <= set(grant.scope.split()), "invalid_scope")
            grant = replace(grant, scope=wanted)
        require(grant.client_id == client["client_id"], "invalid_grant")
        require(grant.resource and grant.resource == form.get("resource"), "invalid_target")
        answer = {
            "access_token": self.signed(grant), "token_type": "Bearer", "expires_in": LIFETIME,
            "scope": grant.scope,
        }
        if grant_type != "client_credentials" and "refresh_token" in client["grant_types"]:
            answer["refresh_token"] = secrets.token_urlsafe()
            self.refresh_tokens[answer["refresh_token"]] = grant
        return answer

    def authenticated(self, form, authorization):
        """The client that asks for a token."""
        name, secret = form.get("client_id"), None
        if authorization:
            name, secret = basic_credentials(authorization)
        client = self.clients.get(name)
        require(client and client.get("client_secret") == secret, "invalid_client", 401)
        return client

    def signed(self, grant):
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": grant.resource, "sub": grant.subject, "client_id": grant.client_id,
            "scope": grant.scope, "iat": now, "exp": now + LIFETIME, "jti": secrets.token_hex(8),
        }
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": KEY_ID, "typ": "at+jwt"})


class Handler(BaseHTTPRequestHandler):
    """The endpoints."""

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/.well-known/oauth-authorization-server":
            self.answer(200, self.server.metadata())
        elif url.path == "/.well-known/jwks.json":
            self.answer(200, self.server.key_set())
        elif url.path == "/authorize":
            self.try_to(302, lambda: self.server.authorize(dict(parse_qsl(url.query))))
        else:
            self.answer(404, {"error": "not_found"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/register":
            self.try_to(201, lambda: self.server.register(json.loads(body)))
        elif self.path == "/token":
            authorization = self.headers.get("Authorization")
            self.try_to(200, lambda: self.server.token(dict(parse_qsl(body)), authorization))
        else:
            self.answer(404, {"error": "not_found"})

    def try_to(self, status, act):
        try:
            self.answer(status, act())
        except OAuthError as error:
            self.answer(error.status, {"error": str(error)})

    def answer(self, status, value):
        """A JSON document; with status 302 the address to go to."""
        body = b"" if status == 302 else json.dumps(value).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = AuthorizationServer()
print(f"listening on {server.issuer}", flush=True)
server.serve_forever()
