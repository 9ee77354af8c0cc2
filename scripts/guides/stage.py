"""The folder, the program, the PostgreSQL and the shell in which the steps of one guide run."""
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import essence

# Seconds for one guide, servers and databases included.
PATIENCE = 120
SETTING = re.compile(r"PANAVERSITY_|DATABASE_|PG[A-Z]|PORT$")
# What `curl` prints with exit code 0.
FAILED_CALL = re.compile(r'"isError":true|"error":\{"code":-')
SERVE = """#!/usr/bin/env bash
set -euo pipefail
[ "${1:-}" = serve ] || exec "$PROGRAM" "$@"
stop-server
"$PROGRAM" "$@" >"$STAGE/log" 2>&1 </dev/null &
server=$!
printf '%s' "$server" >"$STAGE/server"
until "$PROGRAM" health --ready >/dev/null 2>&1; do
    kill -0 "$server" 2>/dev/null || { cat "$STAGE/log"; wait "$server"; exit; }
    sleep 0.05
done
"""
STOP = """#!/usr/bin/env bash
[ -s "$STAGE/server" ] || exit 0
server=$(cat "$STAGE/server")
rm "$STAGE/server"
kill -TERM "$server" 2>/dev/null
while [ -e "/proc/$server" ] && ! grep -q '^State:.*Z' "/proc/$server/status" 2>/dev/null; do sleep 0.02; done
cat "$STAGE/log" >>"$STAGE/logs"
"""
LOG = """#!/usr/bin/env bash
cat "$STAGE/logs" "$STAGE/log" 2>/dev/null || true
"""


@dataclass
class Stage:
    """Where one guide runs. `folder` is made, and holds nothing of the guide's but `reader`, where it runs."""
    repository: Path
    folder: Path
    program: Path
    port: int
    database_port: int = 0

    def substitute(self, text):
        text = re.sub(r"\b(?:localhost|books-1):8000\b", f"127.0.0.1:{self.port}", text)
        text = re.sub(r"@db(?:\.example\.com)?/", f"@127.0.0.1:{self.database_port}/", text)
        return re.sub(r"(?<![\w.])/(srv|run/secrets)/", rf"{self.folder}/\1/", text)

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not SETTING.match(name)}
        path = [str(self.folder / "bin"), os.environ["PATH"], *filter(None, [postgres_programs()])]
        return kept | {"PATH": ":".join(path), "PROGRAM": str(self.program), "STAGE": str(self.folder),
                       "REPOSITORY": str(self.repository), "PANAVERSITY_SERVER_PORT": str(self.port),
                       "PANAVERSITY_URL": f"http://127.0.0.1:{self.port}",
                       "PGHOST": "127.0.0.1", "PGPORT": str(self.database_port), "PGUSER": "pfs"}


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def postgres_programs():
    """The folder of PostgreSQL's programs, as scripts/install-test-tools finds it."""
    found = shutil.which("initdb")
    folders = [os.environ.get("TEST_PG_BIN"), found and os.path.dirname(os.path.realpath(found))]
    folders += sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    return next((folder for folder in folders if folder and os.access(f"{folder}/initdb", os.X_OK)), None)


def start_postgres(stage):
    """A PostgreSQL that trusts everybody on this machine, with the databases that guides name."""
    programs, folder = postgres_programs(), stage.folder / "postgres"
    if programs is None:
        raise FileNotFoundError("PostgreSQL is not installed: scripts/install-test-tools")
    folder.mkdir()
    as_user = []
    if os.geteuid() == 0:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(folder, "postgres", "postgres")
    initdb = ["initdb", "-D", folder / "data", "-U", "pfs", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
              "--no-sync", "--no-instructions"]
    subprocess.run([*as_user, f"{programs}/{initdb[0]}", *initdb[1:]], check=True, capture_output=True, cwd="/")
    settings = {"port": stage.database_port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder,
                "fsync": "off", "dynamic_shared_memory_type": "mmap", "shared_buffers": "32MB"}
    settings = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with open(stage.folder / "postgres.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen([*as_user, f"{programs}/postgres", "-D", folder / "data", *settings],
                                  stdout=log, stderr=log, cwd="/")
    for name in ("pfs", "books"):
        while subprocess.run([f"{programs}/createdb", name], env=stage.environment(), capture_output=True).returncode:
            if server.poll() is not None:
                raise RuntimeError((stage.folder / "postgres.log").read_text(encoding="utf-8"))
            time.sleep(0.05)
    return server


def script(steps, stage):
    """One shell script of all steps, each of which prints into a file of its number."""
    lines = ["set -euo pipefail", f"cd {stage.folder}/reader", "LAST=/dev/null"]
    for number, step in enumerate(steps):
        out = f"{stage.folder}/out/{number}"
        code = stage.substitute(step.code)
        lines.append(f"echo {number} >{stage.folder}/at")
        if step.exit:
            lines += ["set +e", "(", code, f") >{out} 2>&1", "STATUS=$?", "set -e",
                      f'[ "$STATUS" -eq {step.exit} ] || {{ echo "exit code $STATUS" >>{out}; exit 1; }}']
        else:
            lines += ["{", code, f"}} >{out} 2>&1"]
        if step.is_visible:
            lines.append(f"LAST={out}")
    lines.append(f"echo {len(steps)} >{stage.folder}/at")
    return "\n".join(lines)


def problem(step, printed, stage):
    """What is wrong with what a step that succeeded printed."""
    if step.answer is not None:
        answered = json.loads(printed.strip().splitlines()[-1])
        return essence.difference(step.answer, answered.get("result", {}).get("structuredContent", answered))
    if FAILED_CALL.search(printed):
        return "a call fails"
    shown = [stage.substitute(line) for line in step.printed]
    line = essence.missing(shown, printed.replace("\r", "\n").splitlines())
    return line and f"not printed: {line}"


def described(step, what, printed):
    shown = "\n    ".join([*step.code.splitlines(), "--", *printed.splitlines()[-40:]])
    return f"{step.line}: {what}\n    {shown}"


def execute(steps, stage):
    """Runs the script, and gives the number of the first step that did not succeed."""
    shell = subprocess.Popen(["bash", "-c", script(steps, stage)], env=stage.environment(), start_new_session=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        shell.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        subprocess.run(["bash", "-c", STOP], env=stage.environment(), stderr=subprocess.DEVNULL)
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        shell.wait()
    return int((stage.folder / "at").read_text(encoding="utf-8"))


def run(steps, stage):
    """The problems of a guide, each beginning with its line."""
    for name in ("bin", "out", "reader", "srv", "run/secrets"):
        (stage.folder / name).mkdir(parents=True)
    for name, text in {"panaversity-fs": SERVE, "stop-server": STOP, "journalctl": LOG}.items():
        (stage.folder / "bin" / name).write_text(text, encoding="utf-8")
        (stage.folder / "bin" / name).chmod(0o755)
    stage.database_port = free_ports(1)[0]
    needs_postgres = any(re.search(r"@db(?:\.example\.com)?/", step.code) for step in steps)
    postgres = start_postgres(stage) if needs_postgres else None
    try:
        done = execute(steps, stage)
    finally:
        if postgres:
            postgres.send_signal(signal.SIGQUIT)
            postgres.wait()
    outputs = [stage.folder / "out" / str(number) for number in range(len(steps))]
    printed = [out.read_text(encoding="utf-8", errors="replace") if out.exists() else "" for out in outputs]
    found = [described(step, what, text) for step, text in zip(steps[:done], printed)
             if (what := problem(step, text, stage))]
    if done < len(steps):
        found.append(described(steps[done], "does not succeed", printed[done]))
    return found
