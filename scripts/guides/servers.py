"""Private servers that guides need beside ours, on free ports: PostgreSQL, and SeaweedFS as a bucket."""
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

# Seconds for a start.
PATIENCE = 120
# What SeaweedFS would do besides, on fixed ports.
BUCKET = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0",
          "-s3.port.lance=0", "-metricsPort=0", "-s3.metricsPort=0", "-master.telemetry=false"]
BUCKET_PORTS = ["s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
                "filer.port.grpc", "admin.port", "admin.port.grpc"]


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


@contextmanager
def postgres(stage):
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
    command = [*as_user, f"{programs}/postgres", "-D", folder / "data", *settings]
    with started(command, "postgres", stage, signal.SIGQUIT) as alive:
        for name in ("pfs", "books"):
            create = [f"{programs}/createdb", name]
            while subprocess.run(create, env=stage.environment(), capture_output=True).returncode:
                alive()
        yield


@contextmanager
def bucket(stage):
    """A SeaweedFS with the bucket `books`, which the key KEY_ID with the secret SECRET may use."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", stage.repository / "target"))
    program = os.environ.get("TEST_WEED", target / "test-tools/bin/weed")
    if not os.access(program, os.X_OK):
        raise FileNotFoundError("SeaweedFS is not installed: scripts/install-test-tools")
    credentials = [{"accessKey": "KEY_ID", "secretKey": "SECRET"}]
    identity = {"name": "guide", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
    keys = stage.folder / "s3.json"
    keys.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    ports = dict(zip(BUCKET_PORTS, free_ports(len(BUCKET_PORTS)))) | {"s3.port": stage.bucket_port}
    options = [f"-{name}={port}" for name, port in ports.items()]
    options += [f"-dir={stage.folder / 'weed'}", f"-s3.config={keys}", "-bucket=books"]
    with started([program, "mini", *BUCKET, *options], "weed", stage, signal.SIGKILL) as alive:
        ready = ["curl", "-sf", "-o", os.devnull, f"http://127.0.0.1:{ports['filer.port']}/buckets/books/"]
        while subprocess.run(ready, env=stage.environment(), capture_output=True).returncode:
            alive()
        yield


@contextmanager
def started(command, name, stage, end):
    """A server that is ended by a signal. Gives a function that waits a moment and requires that it still runs."""
    log = stage.folder / f"{name}.log"
    with open(log, "w", encoding="utf-8") as written:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=written, stderr=written,
                                  cwd=stage.folder, env=os.environ | {"TMPDIR": str(stage.folder)})

    end_of_patience = time.monotonic() + PATIENCE

    def alive():
        if server.poll() is not None or time.monotonic() > end_of_patience:
            raise RuntimeError(f"{name} does not start:\n{log.read_text(encoding='utf-8')}")
        time.sleep(0.05)

    try:
        yield alive
    finally:
        server.send_signal(end)
        server.wait()
