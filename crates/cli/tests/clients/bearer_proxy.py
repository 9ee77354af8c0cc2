"""Reverse proxy that adds a bearer token to every request, for clients that can't send one. Bytes pass
in both directions as they come, except for that header and `Connection`: a connection carries one
request, whose head is all that is read of it.

Usage: bearer_proxy.py URL
PANAVERSITY_TOKEN is the token, URL the server. It listens on a free port of 127.0.0.1 and prints its URL.
"""

import asyncio
import os
import sys
from urllib.parse import urlsplit

CHUNK = 64 << 10
TOKEN = os.environ["PANAVERSITY_TOKEN"]
SERVER = urlsplit(sys.argv[1])


def with_token(head):
    """The head of a request, with the token."""
    lines = [line for line in head.split(b"\r\n") if line and not line.lower().startswith(b"connection:")]
    lines += [b"Connection: close", f"Authorization: Bearer {TOKEN}".encode(), b"", b""]
    return b"\r\n".join(lines)


async def relay(source, sink):
    while some := await source.read(CHUNK):
        sink.write(some)
        await sink.drain()


async def serve(client, to_client):
    """One request. When either side ends the connection, the other's ends too."""
    writers, relays = [to_client], []
    try:
        head = await client.readuntil(b"\r\n\r\n")
        server, to_server = await asyncio.open_connection(SERVER.hostname, SERVER.port)
        writers.append(to_server)
        to_server.write(with_token(head))
        pairs = [(client, to_server), (server, to_client)]
        relays = [asyncio.create_task(relay(source, sink)) for source, sink in pairs]
        await asyncio.wait(relays, return_when=asyncio.FIRST_COMPLETED)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        for task in relays:
            task.cancel()
        await asyncio.gather(*relays, return_exceptions=True)
        for writer in writers:
            writer.close()


async def main():
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    await listener.serve_forever()


asyncio.run(main())
