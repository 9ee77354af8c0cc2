"""A short mixed load over MCP: everything that moves a metric, by callers with addresses of their own."""

import base64
import datetime
import http.client
import itertools
import json
import math
import os
import random
import threading
import time

BOOKS = {"ai-python": 60, "robotics": 40, "typescript": 25}
NO_HASH = "0" * 64


def lesson(number):
    return f"content/01-Part/{number // 10 + 1:02}-Chapter/{number % 10 + 1:02}-lesson.md"


class Caller:
    """One agent with one connection."""

    def __init__(self, address, name, number):
        self.connection = http.client.HTTPConnection(address, timeout=30)
        self.headers = {"Content-Type": "application/json", "X-Agent-Id": name,
                        "X-Forwarded-For": f"10.0.0.{number}"}
        self.ids = itertools.count(1)

    def request(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def call(self, tool, **arguments):
        message = {"jsonrpc": "2.0", "id": next(self.ids), "method": "tools/call",
                   "params": {"name": tool, "arguments": arguments}}
        status, body = self.request("POST", "/mcp", json.dumps(message), self.headers)
        return json.loads(body)["result"].get("structuredContent", {}) if status == 200 else {}

    def follow(self, url, method="GET", body=None, headers=None):
        return self.request(method, "/" + url.split("/", 3)[3], body, headers)


def write(caller, book, number, words):
    now = caller.call("read_content", book_id=book, path=lesson(number))
    caller.call("write_content", book_id=book, path=lesson(number), content=f"# {number}\n\n{words}\n",
                **({"expected_hash": now["file_hash_sha256"]} if "file_hash_sha256" in now else {}))


def writing(caller, turn):
    """Updates, and now and then a stale hash, none, a path that does not fit and a file that is not there."""
    book = random.choice(list(BOOKS))
    write(caller, book, random.randrange(BOOKS[book]), f"Turn {turn}. " * random.randrange(10, 300))
    mistake = turn % 6
    if mistake == 0:
        caller.call("write_content", book_id=book, path=lesson(1), content=str(turn), expected_hash=NO_HASH)
    elif mistake == 2:
        caller.call("write_content", book_id=book, path=lesson(1), content=str(turn))
    elif mistake == 4:
        caller.call("write_content", book_id=book, path=f"content/{turn}.md", content="x")
        caller.call("write_content", book_id=book, path="content/09-Part/01-Chapter/01-none.md", content="x",
                    expected_hash=NO_HASH)


def reading(caller, turn):
    """Overlay reads, one overlay write, searches."""
    book, user = random.choice(list(BOOKS)), f"user-{turn % 5}"
    for _ in range(4):
        caller.call("read_content", book_id=book, path=lesson(random.randrange(20)), user_id=user)
    if turn % 8 == 0:
        caller.call("write_content", book_id=book, path=lesson(turn % 20), content=f"{user} {turn}",
                    user_id=user)
    caller.call("glob_search", book_id=book, pattern="content/**/*.md")
    caller.call("list_books")


def building(caller, turn):
    """A plan, a delta, an archive by its link."""
    book = list(BOOKS)[turn % len(BOOKS)]
    since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=2)
    caller.call("plan_build", book_id=book)
    caller.call("delta_build", book_id=book, since=since.isoformat())
    link = caller.call("get_book_archive", book_id=book, scope=("all", "content", "assets")[turn // 3 % 3])
    if "archive_url" in link:
        caller.follow(link["archive_url"])


def uploading(caller, turn):
    """Images inside the call and by a URL, and two creators of one large file: one stages it in vain."""
    book = list(BOOKS)[turn % len(BOOKS)]
    image = {"book_id": book, "asset_type": "img", "filename": f"figure-{turn}.png"}
    caller.call("upload_asset", **image, binary_data=base64.b64encode(os.urandom(180_000)).decode())
    caller.call("get_asset", **image, include_binary=True)
    ticket = caller.call("upload_asset", book_id=book, asset_type="slides", filename=f"deck-{turn}.pdf",
                         file_size=300_000)
    if "upload_url" in ticket:
        caller.follow(ticket["upload_url"], "PUT", os.urandom(300_000), ticket.get("headers"))
        caller.call("complete_upload", book_id=book, upload_id=ticket["upload_id"])


def racing(caller, turn):
    """One of a pair: both create one large page at the same moment."""
    path = f"content/08-Races/01-Chapter/{turn % 100:02}-r{turn}.md"
    caller.call("write_content", book_id="robotics", path=path, content=random.choice("abcdefgh") * 200_000)
    time.sleep(1)


def looping(caller, turn):
    """A caller without a pause, every few seconds: it meets the rate limit. Pings, as a slow machine answers
    fewer calls that reach the journal than the limit allows."""
    ping = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    for _ in range(300):
        caller.request("POST", "/mcp", ping, caller.headers)
    time.sleep(3)


def seed(address):
    caller = Caller(address, "importer", 1)
    for book, files in BOOKS.items():
        for number in range(files):
            caller.call("write_content", book_id=book, path=lesson(number),
                        content=f"# Lesson {number}\n" * 40)
            time.sleep(0.012)


def run(address, seconds):
    """Runs all callers for some time; busier and calmer, as days are."""
    end = time.monotonic() + seconds
    barrier = threading.Barrier(2)

    def work(what, number, pause):
        caller = Caller(address, what.__name__, number)
        for turn in itertools.count():
            if time.monotonic() > end:
                break
            if what is racing:
                try:
                    barrier.wait(5)
                except threading.BrokenBarrierError:
                    break
            try:
                what(caller, turn)
            except (http.client.HTTPException, OSError):
                caller.connection.close()
            wave = 1 + 0.7 * math.sin(time.monotonic() / 25 + number)
            time.sleep(pause * wave * random.uniform(0.6, 1.4))
        barrier.abort()

    kinds = [(writing, .12), (writing, .15), (reading, .15), (reading, .2), (building, .5), (uploading, .8),
             (looping, .5)]
    threads = [threading.Thread(target=work, args=(what, number, pause), daemon=True)
               for number, (what, pause) in enumerate(kinds, 2)]
    threads += [threading.Thread(target=work, args=(racing, number, 0), daemon=True) for number in (20, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
