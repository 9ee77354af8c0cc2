"""A private server and a private Prometheus that scrapes it: free ports, one temporary folder, waited for."""

import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PATIENCE = 30
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: panaversityfs
    static_configs: [{{targets: ["{target}"]}}]
"""


def until(what, ready):
    """Waits for something to be ready, and gives what it gave."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = ready()
        if found:
            return found
        time.sleep(0.05)
    raise SystemExit(f"monitoring: {what} took longer than {PATIENCE} seconds")


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


class Processes:
    """Both programs; at the end of the `with` block they are stopped and their data is removed."""

    def __init__(self, program, rules):
        self.program, self.rules = Path(program).resolve(), rules
        self.running = []

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="panaversity-monitoring-"))
        try:
            self.server = self.start_server()
            self.prometheus = self.start_prometheus()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def launch(self, name, command):
        """Starts a program, and gives the first port that its log says it listens on."""
        log = self.folder / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=out)
        self.running.append(process)

        def address():
            if process.poll() is not None:
                raise SystemExit(f"monitoring: {name} ended:\n{log.read_text()[-2000:]}")
            return re.search(r"listening on http://(127\.0\.0\.1:\d+)", log.read_text()) or \
                re.search(r'address=(127\.0\.0\.1:[1-9]\d*)', log.read_text())

        return until(f"the start of {name}", address).group(1)

    def start_server(self):
        """With a rate limit that one caller of many exceeds; callers are told apart by X-Forwarded-For."""
        return self.launch("server", [
            self.program, "serve", "--database-url", f"sqlite:{self.folder}/books.db",
            "--storage-backend", "fs", "--storage-root", self.folder / "books",
            "--server-host", "127.0.0.1", "--server-port", "0",
            "--trusted-proxies", "127.0.0.1", "--rate-limit-per-second", "100", "--rate-limit-burst", "100",
            "--log-level", "INFO", "--log-format", "json"])

    def start_prometheus(self):
        config = self.folder / "prometheus.yml"
        config.write_text(CONFIG.format(rules=self.rules, target=self.server))
        return self.launch("prometheus", [
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder}/tsdb",
            "--web.listen-address=127.0.0.1:0", "--log.level=info"])

    def api(self, path, **parameters):
        """An answer of Prometheus's, or the text of its error."""
        url = f"http://{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            answer = json.loads(get(url))
        except urllib.error.HTTPError as error:
            raise ValueError(json.loads(error.read())["error"]) from None
        return answer["data"]

    def query(self, text):
        return self.api("query", query=text)["result"]

    def scraped(self):
        until("the first scrape", lambda: self.query("up == 1"))
