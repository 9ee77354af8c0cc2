"""Checks dashboard and rules against a server under load: each query runs, and none is empty.

Usage: check.py [--picture FILE] [PROGRAM]
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import load
import picture
from processes import Processes, get

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy/grafana/dashboard.json"
PROMETHEUS = ROOT / "deploy/prometheus"
OPERATIONS = ROOT / "docs/guide/operations.md"
GUIDE = ROOT / "docs/guide/monitoring.md"
LOAD_SECONDS, PICTURE_SECONDS = 20, 180
# The queries that the contract promises, as it writes them.
PROMISED = ["rate(panaversityfs_write_total[5m])", 'rate(panaversityfs_write_total{status="error"}[5m])',
            "histogram_quantile(0.99, panaversityfs_write_duration_seconds_bucket)",
            "panaversityfs_archive_memory_bytes"]
# The name is fixed, though it is a gauge's.
ADMITTED = 'panaversityfs_journal_entries_total non-counter metrics should not have "_total" suffix'
SELECTOR = re.compile(r"\b(?:panaversityfs_\w+|up)\b(?:\{[^}]*\})?")
problems = []


def problem(text):
    problems.append(text)


def tool(what, *command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode:
        problem(f"{what}: {done.stdout.strip()} {done.stderr.strip()}")


def numbers(result):
    return [float(series["value"][1]) for series in result if not math.isnan(float(series["value"][1]))]


def asked(where, processes, query):
    """The numbers that a query gives; a problem if it fails."""
    try:
        return numbers(processes.query(query))
    except ValueError as error:
        problem(f"{where}: {error}: {query}")
        return None


def check_panels(processes):
    for panel in picture.panels(DASHBOARD):
        where = f"panel {panel['title']!r}"
        if not panel.get("description") or "unit" not in panel["fieldConfig"]["defaults"]:
            problem(f"{where} has no description or no unit")
        for target in panel["targets"]:
            found = asked(where, processes, picture.concrete(target["expr"]))
            if found == []:
                problem(f"{where} is empty: {target['expr']}")
            shown = f"{len(found):3}  {max(found):.4g}" if found else "  –"
            print(f"{panel['title'][:24]:24}  {target.get('legendFormat', '')[:20]:20}  {shown}")


def check_rules(processes):
    for group in processes.api("rules")["groups"]:
        for rule in group["rules"]:
            where = f"alert {rule['name']}"
            if rule["health"] != "ok":
                problem(f"{where}: {rule.get('lastError')}")
            if rule["state"] == "firing":
                problem(f"{where} fires on a server that is well")
            expr = rule["query"]
            asked(where, processes, expr)
            for selector in SELECTOR.findall(expr):
                if asked(where, processes, selector) == []:
                    problem(f"{where}: nothing has {selector}")
            link = rule["annotations"].get("runbook_url", "")
            heading = link.rpartition("#")[2].replace("-", " ")
            if OPERATIONS.exists() and not re.search(rf"(?im)^#+ {heading}$", OPERATIONS.read_text()):
                problem(f"{where}: {link} is no heading")


def criteria():
    """The queries of the guide's table of success criteria."""
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| SC-")]
    return [query for row in rows for query in re.findall(r"`([^`]*panaversityfs_[^`]*)`", row)]


def check_names(metrics):
    known = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", metrics, re.M):
        known |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    for file in (DASHBOARD, PROMETHEUS / "rules.yml"):
        for name in sorted(set(re.findall(r"panaversityfs_\w+", file.read_text())) - known):
            problem(f"{file.name}: {name} is not on /metrics")


def check_metrics(metrics):
    done = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True)
    for line in (done.stdout + done.stderr).splitlines():
        if line.strip() != ADMITTED:
            problem(f"promtool check metrics: {line}")


def main(arguments):
    drawn = None
    if arguments[:1] == ["--picture"]:
        drawn, arguments = arguments[1], arguments[2:]
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    program = arguments[0] if arguments else f"{target}/debug/panaversity-fs"
    tool("rules", "promtool", "check", "rules", PROMETHEUS / "rules.yml")
    tool("tests of the rules", "promtool", "test", "rules", "rules_test.yml", cwd=PROMETHEUS)
    if (PROMETHEUS / "prometheus.yml").exists():
        tool("configuration", "promtool", "check", "config", PROMETHEUS / "prometheus.yml")
    with Processes(program, PROMETHEUS / "rules.yml") as processes:
        load.seed(processes.server)
        processes.scraped()
        load.run(processes.server, PICTURE_SECONDS if drawn else LOAD_SECONDS)
        if drawn:
            Path(drawn).write_text(picture.draw(DASHBOARD, processes, PICTURE_SECONDS - 15))
        check_panels(processes)
        check_rules(processes)
        for query in PROMISED + criteria():
            if asked("promised query", processes, query) == []:
                problem(f"promised query: empty: {query}")
        metrics = get(f"http://{processes.server}/metrics")
        check_metrics(metrics)
        check_names(metrics)
    for text in problems:
        print(f"monitoring: {text}", file=sys.stderr)
    return 1 if problems else 0


# So that the programs are stopped and their data is removed then too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
sys.exit(main(sys.argv[1:]))
