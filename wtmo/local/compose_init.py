"""What compose does once before Airflow starts: ``python -m wtmo.local.compose_init`` in the service ``airflow-init``.

Brings the metadata database to this version's tables, makes the pools of :mod:`utils.pools` as they are declared, and the
user ``admin`` with the password ``ADMIN_PASSWORD`` if there is none. May run any number of times. The first step that fails
ends it with that step's exit status.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from utils.config import environment
from utils.pools import POOLS

ADMIN = ("--username", "admin", "--firstname", "Local", "--lastname", "Admin", "--email", "admin@localhost.invalid")


def pools_file(folder: Path) -> Path:
    """The declared pools in a file of the form that ``airflow pools import`` reads."""
    file = folder / "pools.json"
    file.write_text(
        json.dumps({p.name: {"slots": p.slots, "description": p.description, "include_deferred": False} for p in POOLS})
    )
    return file


def _airflow(*arguments: str, answers: str = "") -> None:
    """Run a command of Airflow.

    :param answers: what it reads from standard input. Default: nothing.
    """
    sys.stderr.write(f"airflow-init: airflow {' '.join(arguments[:2])}\n")
    # A session of its own has no terminal: getpass reads the password from standard input, and no command line shows it.
    subprocess.run(
        [sys.executable, "-m", "airflow", *arguments], input=answers, text=True, check=True, start_new_session=True
    )


def main() -> int:
    """Do the three steps."""
    password = environment().get("ADMIN_PASSWORD")
    if not password:
        sys.stderr.write("error: ADMIN_PASSWORD is not set; run: make compose-env\n")
        return 2
    try:
        _airflow("db", "migrate")
        with tempfile.TemporaryDirectory() as folder:
            _airflow("pools", "import", str(pools_file(Path(folder))))
        _airflow("users", "create", *ADMIN, "--role", "Admin", answers=f"{password}\n{password}\n")
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"error: `airflow {' '.join(error.cmd[3:5])}` ended with exit status {error.returncode}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
