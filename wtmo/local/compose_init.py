"""What compose does once before Airflow starts: ``python -m wtmo.local.compose_init`` in the service ``airflow-init``.

Brings the metadata database to this version's tables, makes the pools of :mod:`utils.pools` as they are declared, and the
user ``admin`` with the password ``ADMIN_PASSWORD`` if there is none. Then fills the folder of the bundle of imported DAGs, from
the sample where the profile ``local`` says so. May run any number of times. The first step that fails ends it with that step's
exit status; but where nothing can be imported now, the bundle tries again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from utils.config import Imports, environment
from utils.pools import POOLS
from wtmo.local import generated

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


def fill_bundle(storage: Path, imports: Imports) -> list[str]:
    """Make the sample's repository if it is to be imported; the command line of the import that fills the bundle's folder."""
    repository = storage / "sample.git"
    if imports.url == str(repository):
        generated.commit_folder(generated.SAMPLE_FILES, repository)
    into = ("--into", str(storage / generated.BUNDLE))
    return [sys.executable, "-m", "wtmo", "import", imports.url, "--ref", imports.ref, *into]


def main() -> int:
    """Do the four steps."""
    password = environment().get("ADMIN_PASSWORD")
    if not password:
        sys.stderr.write("error: ADMIN_PASSWORD is not set; run: make compose-env\n")
        return 2
    try:
        _airflow("db", "migrate")
        with tempfile.TemporaryDirectory() as folder:
            _airflow("pools", "import", str(pools_file(Path(folder))))
        _airflow("users", "create", *ADMIN, "--role", "Admin", answers=f"{password}\n{password}\n")
        # What a connection of Airflow leads to, the bundle alone can fetch.
        if not (imports := Imports()).git_conn_id:
            storage = Path(environment()["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"])
            subprocess.run(fill_bundle(storage, imports), check=False)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"error: `airflow {' '.join(error.cmd[3:5])}` ended with exit status {error.returncode}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
