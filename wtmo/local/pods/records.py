"""What ran: one line of JSON a pod in ``<state>/records.ndjson``, added when the pod ended or was removed before it did.

Pods come and go; this file stays. Names of variables and secrets only, never a value; arguments as the pod states them::

    {"name": "...", "namespace": "default", "uid": "...", "labels": {...}, "phase": "Succeeded", "reason": null,
     "fault": "", "created": "2026-06-01T00:00:00Z", "ended": "2026-06-01T00:00:05Z",
     "containers": [{"name": "base", "image": "...", "stand_in": "recorder", "argv": ["..."], "environment": ["A"],
                     "secrets": [{"variable": "B", "secret": "s", "key": "k"}], "started": "...", "ended": "...",
                     "exit_code": 0}]}

``fault`` is what it was to meet (:mod:`wtmo.local.pods.faults`), asked for or by chance.
``stand_in`` is the name of the program that ran (``bqetl``, ``recorder``, ``own command``), null if the image is unknown;
``started``, ``ended`` and ``exit_code`` are null for a container that never ran or never ended.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wtmo.local.pods.events import timestamp
from wtmo.local.pods.faults import ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wtmo.local.pods.containers import Container

FILE_NAME = "records.ndjson"


def append(state: Path, pod: dict[str, Any], containers: list[Container]) -> None:
    """Add one pod.

    :param state: the server's state folder.
    :param pod: its object.
    """
    metadata, status = pod["metadata"], pod["status"]
    record = {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
        "labels": metadata["labels"],
        "phase": status["phase"],
        "reason": status.get("reason"),
        "fault": (metadata.get("annotations") or {}).get(ANNOTATION, ""),
        "created": metadata["creationTimestamp"],
        "ended": timestamp(),
        "containers": [container.record() for container in containers],
    }
    with (state / FILE_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read(state: Path) -> Iterator[dict[str, Any]]:
    """The records, oldest first. A last line cut short by a kill is left out."""
    path = state / FILE_NAME
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
