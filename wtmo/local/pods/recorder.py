"""Stands for an image that has no program of its own here: says what it was asked to do, and succeeds.

``python -m wtmo.local.pods.recorder IMAGE [ARGUMENT ...]``. Prints names of environment variables and of secrets, never a
value. If the pod has an XCom sidecar, it leaves the same as JSON in ``/airflow/xcom/return.json``::

    {"stand_in_for": "<image>", "arguments": [...], "environment": [...], "secrets": [{"variable": "A", "secret": "s", "key": "k"}]}

The server says in ``WTMO_CONTAINER`` (JSON) which variables the container declares; see :mod:`wtmo.local.pods.containers`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from utils.config import environment
from wtmo.local.pods import xcom


def main(arguments: list[str]) -> int:
    """Print the record and leave it for XCom. Returns the exit code, 2 if no image is given."""
    if not arguments:
        sys.stderr.write("usage: python -m wtmo.local.pods.recorder IMAGE [ARGUMENT ...]\n")
        return 2
    image, *rest = arguments
    variables = environment()
    declared = json.loads(variables.get("WTMO_CONTAINER", "{}"))
    names, secrets = declared.get("environment", []), declared.get("secrets", [])
    lines = [
        f"This is a stand-in for the image {image}. It runs nothing, records what it was asked to do, and succeeds.",
        f"arguments ({len(rest)}):",
        *(f"  {argument!r}" for argument in rest),
        f"environment variables ({len(names)}), names only:",
        *(f"  {name}" for name in names),
        f"secrets ({len(secrets)}), names only:",
        *(f"  {each['variable']} from {each['secret']}/{each['key']}" for each in secrets),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    folder = Path(variables.get(xcom.FOLDER_VARIABLE, xcom.FOLDER))
    if folder.is_dir():
        record = {"stand_in_for": image, "arguments": rest, "environment": names, "secrets": secrets}
        (folder / xcom.FILE_NAME).write_text(json.dumps(record), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
