"""The folder, the program and the shell in which the steps of one guide run."""
import json
import os
import re
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import essence
import servers

# Seconds for one guide, servers and databases included.
PATIENCE = 300
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
    bucket_port: int = 0
    receiver_port: int = 0

    def substitute(self, text):
        text = re.sub(r"\b(?:localhost|books-1):8000\b", f"127.0.0.1:{self.port}", text)
        text = re.sub(r"\blocalhost:9000\b", f"127.0.0.1:{self.receiver_port}", text)
        text = text.replace("https://s3.example.com", f"http://127.0.0.1:{self.bucket_port}")
        text = re.sub(r"@db(?:\.example\.com)?/", f"@127.0.0.1:{self.database_port}/", text)
        return re.sub(r"(?<![\w.])/(srv|run/secrets)/", rf"{self.folder}/\1/", text)

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not SETTING.match(name)}
        path = [str(self.folder / "bin"), os.environ["PATH"], *filter(None, [servers.postgres_programs()])]
        return kept | {"PATH": ":".join(path), "PROGRAM": str(self.program), "STAGE": str(self.folder),
                       "REPOSITORY": str(self.repository), "PANAVERSITY_SERVER_PORT": str(self.port),
                       "PANAVERSITY_URL": f"http://127.0.0.1:{self.port}",
                       "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1",
                       "PGHOST": "127.0.0.1", "PGPORT": str(self.database_port), "PGUSER": "pfs"}


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
    stage.database_port, stage.bucket_port, stage.receiver_port = servers.free_ports(3)
    code = "\n".join(step.code for step in steps)
    with ExitStack() as running:
        if re.search(r"@db(?:\.example\.com)?/", code):
            running.enter_context(servers.postgres(stage))
        if "https://s3.example.com" in code:
            running.enter_context(servers.bucket(stage))
        done = execute(steps, stage)
    outputs = [stage.folder / "out" / str(number) for number in range(len(steps))]
    printed = [out.read_text(encoding="utf-8", errors="replace") if out.exists() else "" for out in outputs]
    found = [described(step, what, text) for step, text in zip(steps[:done], printed)
             if (what := problem(step, text, stage))]
    if done < len(steps):
        found.append(described(steps[done], "does not succeed", printed[done]))
    return found
