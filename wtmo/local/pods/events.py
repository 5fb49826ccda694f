"""Events of pods: kept in memory, listed and watched."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wtmo.local.pods.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Event = dict[str, Any]
KEPT = 2000


def timestamp(seconds: float | None = None) -> str:
    """A time as Kubernetes writes it, whole seconds, UTC. Default: now."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() if seconds is None else seconds))


class EventLog:
    """The newest 2,000 events. They do not survive a restart (Kubernetes forgets them after an hour).

    :param next_version: gives the next resource version of the cluster.
    """

    def __init__(self, next_version: Callable[[], int]) -> None:
        self._next_version = next_version
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._forgotten = next_version()
        self._watchers: set[asyncio.Queue[Event]] = set()

    def add(
        self, pod: dict[str, Any], reason: str, message: str, *, warning: bool = False, container: str | None = None
    ) -> None:
        """Report something about a pod.

        :param pod: its object.
        :param reason: one word: ``Scheduled``, ``Failed``, ...
        :param message: a sentence for a person.
        :param warning: of type ``Warning``. Default: ``Normal``.
        :param container: what it is about. Default: the whole pod.
        """
        metadata = pod["metadata"]
        involved = {
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        if container is not None:
            involved["fieldPath"] = f"spec.containers{{{container}}}"
        version, now = self._next_version(), timestamp()
        event: Event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{version:016x}",
                "namespace": metadata["namespace"],
                "uid": str(uuid.uuid4()),
                "resourceVersion": str(version),
                "creationTimestamp": now,
            },
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": "wtmo"},
        }
        if len(self._events) == KEPT:
            self._forgotten = int(self._events[0]["metadata"]["resourceVersion"])
        self._events.append(event)
        for watcher in self._watchers:
            watcher.put_nowait(event)

    def listed(self, matches: Callable[[Event], bool]) -> list[Event]:
        """The events that match, oldest first."""
        return [event for event in self._events if matches(event)]

    def since(self, version: int, matches: Callable[[Event], bool]) -> list[Event]:
        """The events that match and are newer than a resource version; 0 means all.

        :raises ApiError: 410 when events newer than that version are already forgotten.
        """
        if 0 < version < self._forgotten:
            raise ApiError(410, "Expired", f"too old resource version: {version} ({self._forgotten})")
        return [event for event in self.listed(matches) if int(event["metadata"]["resourceVersion"]) > version]

    @contextmanager
    def watch(self) -> Generator[asyncio.Queue[Event]]:
        """A queue that every event goes to until the block is left."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            yield queue
        finally:
            self._watchers.discard(queue)
