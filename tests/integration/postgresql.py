"""A PostgreSQL of its own, on loopback."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from .airflow_server import until

#: Debian keeps the server's programs off the PATH.
_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _program(name):
    return shutil.which(name, path=os.pathsep.join([*map(str, _PLACES), os.environ.get("PATH", os.defpath)]))


def require_postgresql():
    """Skip where PostgreSQL, or a driver that Airflow needs for it, is not installed."""
    missing = [name for name in ("initdb", "postgres") if _program(name) is None]
    missing += [name for name in ("psycopg2", "asyncpg") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(
            f"PostgreSQL is not installed here: apt-get install postgresql, make test for the drivers; missing: {missing}"
        )


@contextmanager
def postgresql():
    """The SQLAlchemy URL of an empty database; its server runs until the end of the block."""
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="distkeras-postgresql-"))  # not pytest's, which this user may not enter
    password = folder / "password"
    password.write_text(secrets.token_hex(16))
    if user:
        owner = pwd.getpwnam(user)
        for path in (folder, password):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = str(folder / "data")
    options = {"cwd": folder, "user": user}
    subprocess.run(
        [_program("initdb"), "-D", data, "-U", "airflow", "-A", "scram-sha-256", "--pwfile", str(password), "--no-sync"],
        check=True, capture_output=True, **options,
    )  # fmt: skip
    log = folder / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [_program("postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"],
            stdout=output, stderr=output, **options,
        )  # fmt: skip
    try:
        until(lambda: "ready to accept connections" in log.read_text(), log.read_text)
        yield f"postgresql+psycopg2://airflow:{password.read_text()}@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # without waiting for its clients
        server.wait()
        shutil.rmtree(folder)
