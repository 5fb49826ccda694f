"""The volumes of a pod: folders of this machine that its containers share.

``emptyDir`` is an empty folder that every user can write to; with ``medium: Memory`` it lies in ``/dev/shm`` where there is one.
``sizeLimit`` is looked after as the kubelet does it: a pod whose volume is over it is evicted.

``secret`` holds one file a key, from the server's ``--secrets``, with ``items``, ``defaultMode`` (0644) and ``optional``. A key that
``items`` names and the file has not gets the text ``local-<key>``, as a variable does; a secret of which nothing is known
can't be mounted, unless it is optional.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtmo.local.pods.limits import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wtmo.local.pods.containers import Secrets

Json = dict[str, Any]

SHARED_MEMORY = Path("/") / "dev" / "shm"
_DEFAULT_MODE = 0o644


class VolumeError(Exception):
    """A volume that can't be mounted, and why."""


class Volumes:
    """One pod's volumes.

    :param spec: the pod's.
    :param folder: on this machine, removed with the pod; need not exist.
    :param memory: the same in memory; None if there is none for it.
    """

    def __init__(self, spec: Mapping[str, Any], folder: Path, memory: Path | None) -> None:
        self._volumes: dict[str, Json] = {volume["name"]: volume for volume in spec.get("volumes") or []}
        self._folder = folder
        self._memory = memory

    def make(self, secrets: Secrets) -> None:
        """Make all of them.

        :param secrets: ``{secret: {key: value}}``.
        :raises VolumeError: a secret that is not there.
        """
        for name, volume in self._volumes.items():
            folder = self.folder(name)
            folder.mkdir(parents=True, exist_ok=True)
            if (secret := volume.get("secret")) is not None:
                self._fill(name, folder, secret, secrets)
                folder.chmod(0o755)
            else:
                folder.chmod(0o777)

    def folder(self, name: str) -> Path:
        """Where a volume lies on this machine."""
        medium = (self._volumes[name].get("emptyDir") or {}).get("medium")
        return (self._memory if self._memory and medium == "Memory" else self._folder) / name

    def read_only(self, name: str) -> bool:
        """Whether no container may write to it."""
        return self._volumes[name].get("secret") is not None

    @property
    def limited(self) -> bool:
        """Whether any has a size limit."""
        return any((volume.get("emptyDir") or {}).get("sizeLimit") for volume in self._volumes.values())

    def excess(self) -> str | None:
        """What the kubelet says of the first volume that is over its size limit; None if none is."""
        for name, volume in self._volumes.items():
            limit = (volume.get("emptyDir") or {}).get("sizeLimit")
            if limit and _size(self.folder(name)) > quantity(limit):
                return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
        return None

    def remove(self) -> None:
        """Remove all of them."""
        for folder in (self._folder, self._memory):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _fill(self, name: str, folder: Path, source: Json, secrets: Secrets) -> None:
        secret, optional = source["secretName"], bool(source.get("optional"))
        known = secrets.get(secret)
        if items := source.get("items"):
            keys = {item["key"]: (item["path"], item.get("mode")) for item in items}
        elif known is None and not optional:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : secret "{secret}" not found')
        else:
            keys = {key: (key, None) for key in known or {}}
        default = source.get("defaultMode")
        for key, (path, mode) in keys.items():
            value = (known or {}).get(key)
            if value is None:
                if optional:
                    continue
                value = f"local-{key}"
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(value, encoding="utf-8")
            file.chmod(next(each for each in (mode, default, _DEFAULT_MODE) if each is not None))


def _size(folder: Path) -> int:
    """Bytes that the files in a folder take on disk; files that go away meanwhile don't count."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total
