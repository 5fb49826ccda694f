"""A container of a pod: its environment, its arguments, its status.

Where values come from: a literal as it is; ``fieldRef`` from the pod; a secret's key from the server's ``--secrets`` file, and
if it is not there the text ``local-<key>``, a development value that opens nothing, or with ``optional`` nothing; a config map's
key likewise. ``envFrom`` gives every key that the file has for that secret; config maps give none.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wtmo.local.pods.events import timestamp
from wtmo.local.pods.logs import ContainerLog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wtmo.local.pods.images import Program
    from wtmo.local.pods.runtimes import Running

Secrets = dict[str, dict[str, str]]

_LOOPBACK = "127.0.0.1"
_REFERENCE = re.compile(r"\$\$|\$\(([^()]+)\)")
_MESSAGE_LINES, _MESSAGE_BYTES = 80, 2048  # of a termination message that falls back to the log


@dataclass
class Container:
    """One container and what became of it.

    :param spec: as the pod states it.
    :param log: its output.
    :param folder: its own folder in the server's state.
    :param init: whether it runs before the others.
    :param restarts: how often it was started again.
    :param last_state: how the start before ended: empty, or ``terminated``.
    :param state: Kubernetes' container state: one of ``waiting``, ``running``, ``terminated``.
    :param program: what runs in place of its image, once that is known.
    :param running: its processes, while it has any.
    """

    spec: dict[str, Any]
    log: ContainerLog
    folder: Path
    init: bool = False
    restarts: int = 0
    last_state: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    program: Program | None = None
    running: Running | None = None

    @property
    def name(self) -> str:
        """Its name, unique in the pod."""
        return str(self.spec["name"])

    @property
    def image(self) -> str:
        """Its image, with tag."""
        return str(self.spec["image"])

    @property
    def exit_code(self) -> int | None:
        """How it ended; None if it did not."""
        ended = self.state.get("terminated")
        return int(ended["exitCode"]) if ended else None

    @property
    def pull_policy(self) -> str:
        """Kubernetes' default depends on the tag."""
        _, _, tag = self.image.partition("@")[0].rpartition("/")[2].partition(":")
        always = tag in {"", "latest"} and "@" not in self.image
        return str(self.spec.get("imagePullPolicy") or ("Always" if always else "IfNotPresent"))

    @property
    def previous_log(self) -> ContainerLog:
        """The output of the start before."""
        return ContainerLog(self.log.path.with_suffix(".previous.log"), closed=True)

    @property
    def words(self) -> list[str]:
        """The container's command and arguments, as stated."""
        return [*(self.spec.get("command") or []), *(self.spec.get("args") or [])]

    def start(self) -> None:
        """Its processes are there."""
        self.state = {"running": {"startedAt": timestamp()}}

    def end(self, code: int, *, reason: str | None = None, message: str | None = None) -> None:
        """Its processes are gone.

        :param code: exit code; 128 + number if a signal ended it.
        :param reason: Default: ``Completed`` or ``Error``.
        :param message: Default: none, or the end of the log where the container asks for that.
        """
        started = self.state.get("running", {}).get("startedAt")
        if message is None and code != 0 and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = self.log.last_lines(lines=_MESSAGE_LINES, size=_MESSAGE_BYTES)
        ended = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "message": message,
            "startedAt": started,
            "finishedAt": timestamp(),
        }
        self.state = {"terminated": {key: value for key, value in ended.items() if value is not None}}
        self.running = None

    def restart(self) -> None:
        """Make ready for another start; the log begins anew."""
        if "terminated" in self.state:
            self.last_state = self.state
        self.restarts += 1
        self.log.path.replace(self.previous_log.path)
        self.log = ContainerLog(self.log.path)

    def wait_for(self, reason: str, message: str) -> None:
        """It cannot start, or not yet again."""
        if "terminated" in self.state:
            self.last_state = self.state
        self.state = {"waiting": {"reason": reason, "message": message}}

    def status(self) -> dict[str, Any]:
        """Kubernetes' container status."""
        running = "running" in self.state
        return {
            "name": self.name,
            "image": self.image,
            "imageID": "",
            "ready": self.exit_code == 0 if self.init else running,
            "started": running,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }

    def declared(self) -> dict[str, Any]:
        """Names of the variables that the container declares, and the secrets among them; no values."""
        variables = self.spec.get("env") or []
        secrets = [
            {"variable": variable["name"], "secret": reference["name"], "key": reference["key"]}
            for variable in variables
            if (reference := (variable.get("valueFrom") or {}).get("secretKeyRef"))
        ]
        secrets += [
            {"variable": "*", "secret": reference["name"], "key": "*"}
            for source in self.spec.get("envFrom") or []
            if (reference := source.get("secretRef"))
        ]
        return {"environment": [variable["name"] for variable in variables], "secrets": secrets}

    def record(self) -> dict[str, Any]:
        """Its part of :mod:`wtmo.local.pods.records`."""
        period = self.state.get("terminated") or self.state.get("running") or {}
        return {
            "name": self.name,
            "image": self.image,
            "stand_in": self.program.name if self.program else None,
            "argv": self.words,
            **self.declared(),
            "started": period.get("startedAt"),
            "ended": period.get("finishedAt"),
            "exit_code": self.exit_code,
        }

    def environment(self, pod: Mapping[str, Any], secrets: Secrets) -> dict[str, str]:
        """The variables that the container declares, with their values."""
        variables: dict[str, str] = {}
        for source in self.spec.get("envFrom") or []:
            if reference := source.get("secretRef"):
                prefix = source.get("prefix") or ""
                variables |= {prefix + key: value for key, value in secrets.get(reference["name"], {}).items()}
        for variable in self.spec.get("env") or []:
            source = {key: value for key, value in (variable.get("valueFrom") or {}).items() if value}
            if field_reference := source.get("fieldRef"):
                value = _field(pod, field_reference["fieldPath"])
            elif key_reference := source.get("secretKeyRef") or source.get("configMapKeyRef"):
                key = key_reference["key"]
                known = secrets.get(key_reference["name"], {}) if "secretKeyRef" in source else {}
                if key not in known and key_reference.get("optional"):
                    continue
                value = known.get(key, f"local-{key}")
            else:
                value = expand(variable.get("value") or "", variables)
            variables[variable["name"]] = value
        return variables

    def argv(self, program: Program, variables: Mapping[str, str]) -> list[str]:
        """What to run. Empty if the image would have had to say so."""
        words = [expand(word, variables) for word in self.words] if program.expands else self.words
        return [*program.argv, *words]

    def declared_json(self) -> str:
        """:meth:`declared` for the program's ``WTMO_CONTAINER``."""
        return json.dumps(self.declared())


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Kubernetes' ``$(NAME)``: replaced if there is such a variable, else left; ``$$`` is a ``$``.

    >>> expand("$(A) $$(A) $(B)", {"A": "1"})
    '1 $(A) $(B)'
    """
    return _REFERENCE.sub(
        lambda match: "$" if match[0] == "$$" else variables.get(match[1], match[0]),
        text,
    )


def _field(pod: Mapping[str, Any], path: str) -> str:
    metadata = pod["metadata"]
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    if path in {"status.podIP", "status.hostIP"}:
        return _LOOPBACK
    if path.startswith("spec."):
        return str(pod["spec"].get(path.removeprefix("spec."), ""))
    return str(metadata[path.removeprefix("metadata.")])
