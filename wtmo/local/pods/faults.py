"""What goes wrong with a pod, on purpose: the annotation ``wtmo.local/fault: <name>[=<value>][,...]``, read at its creation.

``--faults SEED:RATE`` gives a share of the pods without that annotation one fault each. The same seed picks the same fault for
the same labels, so that a run can be repeated whatever order its pods come in; what was picked stands in the annotation.
A call counts as a pod's if it names the pod: read, log, exec, patch, delete, its events, and its creation. A patch of the annotation changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from utils.names import did_you_mean
from wtmo.errors import WtmoError
from wtmo.local.pods.errors import ApiError, Cause, invalid_pod
from wtmo.local.pods.images import ImageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from wtmo.local.pods.cluster import Cluster, Pod

Json = dict[str, Any]
Faults = dict[str, float]

ANNOTATION = "wtmo.local/fault"
FOR_EVER = math.inf
NO_IMAGE = ImageError("ErrImagePull", "manifest unknown: the image is not in the registry")
NO_REGISTRY = ImageError("ErrImagePull", "unexpected status from the registry: 503 Service Unavailable")
_EVENTS_OF = re.compile(r"involvedObject\.name=([^,]+)")


@dataclass(frozen=True)
class Knob:
    """One fault.

    :param does: what happens; VALUE is the number after ``=``.
    :param default: VALUE where none is given.
    """

    does: str
    default: float


KNOBS = {
    "slow-start": Knob("it stays Pending for VALUE seconds", 10),
    "slow-end": Knob("its program goes on for VALUE seconds after its last line", 10),
    "unschedulable": Knob("no node takes it for VALUE seconds", FOR_EVER),
    "image-pull": Knob(
        "its images are not in the registry; with VALUE the registry is away for so many seconds", FOR_EVER
    ),
    "oom": Knob("its first container ends 137, OOMKilled, VALUE seconds after its start or with its program", 1),
    "evicted": Knob("it is evicted VALUE seconds after its containers started", 1),
    "unauthorized": Knob("after VALUE calls, one is answered 401", 3),
    "throttled": Knob("the first call of each kind is answered 429 with Retry-After: VALUE seconds", 1),
    "watch-expired": Knob("a watch of its events is answered 410, VALUE times", FOR_EVER),
    "watch-forbidden": Knob("a watch of its events is answered 403, VALUE times", FOR_EVER),
    "silent": Knob("after VALUE calls, one is never answered", 3),
    "silent-create": Knob("it is created, and the creation is never answered, VALUE times", 1),
    "log-cut": Knob("the first answer with its log breaks off in the middle of the line after VALUE lines", 1),
    "vanish": Knob("it is gone after VALUE reads that showed its success", 1),
    "slow-removal": Knob("when deleted it stays to be seen for VALUE seconds more", 30),
}


def parse(text: str) -> Faults:
    """The faults that an annotation asks for.

    >>> parse("slow-start=2, oom")
    {'slow-start': 2.0, 'oom': 1}

    :raises ValueError: an unknown one, or a value that is no number from 0 on.
    """
    faults: Faults = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, given, value = item.partition("=")
        if name not in KNOBS:
            raise ValueError(f"no fault is named {name[:80]!r}. {did_you_mean(name, KNOBS)}")
        faults[name] = _number(value, name) if given else KNOBS[name].default
    return faults


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"the value of {name} must be a number from 0 on, not {text[:80]!r}")
    return number


def of(metadata: Mapping[str, Any]) -> Faults:
    """The faults of a pod.

    :raises ApiError: 422 for an annotation that :func:`parse` refuses.
    """
    text = _annotations(metadata).get(ANNOTATION, "")
    try:
        return parse(text) if isinstance(text, str) else {}  # the pod's own rules refuse anything else
    except ValueError as error:
        name = str(metadata.get("name", ""))
        raise invalid_pod(name, (Cause(f"metadata.annotations[{ANNOTATION}]", str(error)),)) from error


@dataclass(frozen=True)
class Chance:
    """Faults at random.

    :param seed: the same one picks the same faults.
    :param rate: share of the pods that get one, from 0 to 1. Default: none.
    """

    seed: int = 0
    rate: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Chance:
        """From ``SEED:RATE``.

        :raises WtmoError: for anything else.
        """
        seed, _, rate = text.partition(":")
        try:
            chance = cls(int(seed), float(rate))
        except ValueError:
            chance = cls(0, math.nan)
        if not 0 <= chance.rate <= 1:
            raise WtmoError(f"--faults {text!r} is not SEED:RATE", fix="a whole number and a share: --faults 7:0.2")
        return chance

    def annotate(self, metadata: Json) -> None:
        """Give the pod a fault, or not."""
        if not self.rate or ANNOTATION in _annotations(metadata):
            return
        identity = json.dumps(metadata.get("labels") or metadata.get("name"), sort_keys=True)
        draw = random.Random(f"{self.seed}:{identity}")
        if draw.random() < self.rate:
            metadata["annotations"] = _annotations(metadata) | {ANNOTATION: draw.choice(sorted(KNOBS))}


@dataclass
class _Calls:
    """What was asked about one pod.

    :param total: how many calls.
    :param kinds: which kinds of calls.
    :param given: how often each fault was given.
    """

    total: int = 0
    kinds: set[str] = field(default_factory=set)
    given: Counter[str] = field(default_factory=Counter)

    def due(self, fault: str, times: float = 1) -> bool:
        """Whether a fault is still to be given; if so it counts as given."""
        if self.given[fault] >= times:
            return False
        self.given[fault] += 1
        return True


class ApiFaults:
    """The faults that are answers of the API. Those of a pod's life are given by the cluster."""

    def __init__(self, cluster: Cluster, chance: Chance) -> None:
        self._cluster = cluster
        self._chance = chance
        self._calls: dict[tuple[str, str], _Calls] = {}

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer in the place of the API, or let it answer."""
        key, faults = await self._asked(request)
        if not faults:
            self._calls.pop(key, None)
            return await handler(request)
        calls = self._calls.setdefault(key, _Calls())
        calls.total += 1
        kind = request.match_info.handler.__name__
        first_of_kind = kind not in calls.kinds
        calls.kinds.add(kind)
        if first_of_kind and "throttled" in faults:
            error = ApiError(429, "TooManyRequests", "the server has received too many requests")
            after = {"Retry-After": str(math.ceil(faults["throttled"]))}
            return web.json_response(error.status(), status=error.code, headers=after)
        if "watch" in request.query:
            if calls.due("watch-expired", faults.get("watch-expired", 0)):
                raise ApiError(410, "Expired", "The resourceVersion for the provided watch is too old.")
            if calls.due("watch-forbidden", faults.get("watch-forbidden", 0)):
                raise ApiError(403, "Forbidden", 'events is forbidden: cannot watch resource "events"')
        if calls.total > faults.get("unauthorized", FOR_EVER) and calls.due("unauthorized"):
            raise ApiError(401, "Unauthorized", "Unauthorized")
        if calls.total > faults.get("silent", FOR_EVER) and calls.due("silent"):
            await _never()
        if request.method == "POST" and calls.due("silent-create", faults.get("silent-create", 0)):
            with contextlib.suppress(ApiError):  # there is such a pod, from the second time on
                await handler(request)
            await _never()
        response = await handler(request)
        pod = self._pod(key)
        if "vanish" in faults and request.method == "GET" and pod and pod.status["phase"] == "Succeeded":
            calls.given["vanish"] += 1
            if calls.given["vanish"] >= faults["vanish"]:
                self._cluster.forget(pod)
        return response

    async def _asked(self, request: web.Request) -> tuple[tuple[str, str], Faults]:
        """The pod that a call is about, and its faults: none if there is no such pod."""
        namespace, name = request.match_info.get("namespace", ""), request.match_info.get("name", "")
        if request.method == "POST":
            metadata = _metadata(await request.read())
            self._chance.annotate(metadata)
            key = namespace, str(metadata.get("name", ""))
            try:
                return key, of(metadata)
            except ApiError:
                return key, {}  # its creation will be refused
        if not name and (found := _EVENTS_OF.search(request.query.get("fieldSelector", ""))):
            name = found[1]
        pod = self._pod((namespace, name))
        return (namespace, name), pod.faults if pod else {}

    def _pod(self, key: tuple[str, str]) -> Pod | None:
        try:
            return self._cluster.pod(*key)
        except ApiError:
            return None

    async def cut(self, pod: Pod, blocks: AsyncIterator[bytes], request: web.Request) -> AsyncIterator[bytes]:
        """A log as it comes; with ``log-cut`` the connection ends in the middle of a line, once."""
        passed = 0
        async for block in blocks:
            for line in block.splitlines(keepends=True):
                if passed >= pod.faults.get("log-cut", FOR_EVER) and self._calls[pod.key].due("log-cut"):
                    yield line[: len(line) // 2]
                    if request.transport is not None:
                        request.transport.close()
                    raise ConnectionAbortedError
                yield line
                passed += 1


async def _never() -> None:
    """Until the client goes away."""
    await asyncio.Event().wait()


def _annotations(metadata: Mapping[str, Any]) -> Json:
    annotations = metadata.get("annotations")
    return annotations if isinstance(annotations, dict) else {}


def _metadata(body: bytes) -> Json:
    """The metadata of a pod that is to be created, as far as there are any."""
    try:
        metadata = json.loads(body)["metadata"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return {}
    return metadata if isinstance(metadata, dict) else {}
