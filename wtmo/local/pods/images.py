"""Which program stands for which image. There is no registry and nothing is pulled, but by the Docker runtime.

=============================================== =======================================================================
image                                           program
=============================================== =======================================================================
bigquery-etl, public and private                ``python -m wtmo.local.bqetl <command and arguments of the container>``
alpine (the XCom sidecar)                       the container's own command
any other repository of ``utils/images.py``     ``python -m wtmo.local.pods.recorder <image> <command and arguments>``
anything else                                   none: ``ErrImagePull``, as for an image that is not there
=============================================== =======================================================================

Tags and digests make no difference.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

BQETL_REPOSITORIES = frozenset({
    "gcr.io/moz-fx-data-airflow-prod-88e0/bigquery-etl",
    "us-docker.pkg.dev/moz-fx-data-artifacts-prod/bigquery-etl/bigquery-etl",
    "us-docker.pkg.dev/moz-fx-data-artifacts-prod/private-bigquery-etl/private-bigquery-etl",
})
SIDECAR_REPOSITORIES = frozenset({"alpine"})

_IMAGE = re.compile(
    r"(?P<repository>(?:[A-Za-z0-9]+(?:[.-]+[A-Za-z0-9]+)*(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,})?"
)


@dataclass(frozen=True)
class Program:
    """What runs in place of an image.

    :param name: what to call it in logs and records.
    :param argv: the program; the container's command and arguments follow. Empty: they are the program.
    :param expands: ``$(NAME)`` in them is replaced by the variable's value, as Kubernetes does. Off for the recorder, which
        prints them: a secret's value must not get into a log.
    :param image: the image of the Docker engine in which it runs. Default: it runs on this machine.
    """

    name: str
    argv: tuple[str, ...] = ()
    expands: bool = True
    image: str = ""


class ImageError(Exception):
    """An image that cannot be run.

    :param reason: the kubelet's word: ``InvalidImageName``, ``ErrImagePull`` or ``ErrImageNeverPull``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def repository(image: str) -> str:
    """The repository of an image: no tag, no digest, no ``docker.io/library/``.

    >>> repository("docker.io/library/alpine:3.24.2")
    'alpine'

    :raises ImageError: for a text that is no image name.
    """
    match = _IMAGE.fullmatch(image)
    if match is None:
        raise ImageError("InvalidImageName", f'couldn\'t parse image name "{image}": invalid reference format')
    return match["repository"].removeprefix("docker.io/").removeprefix("library/")


class ImageTable:
    """The table above.

    :param repositories: the registered images, as :func:`repository` writes them.
    """

    def __init__(self, repositories: frozenset[str]) -> None:
        self._repositories = repositories

    @classmethod
    def of_project(cls) -> ImageTable:
        """The table with the images of ``utils/images.py``."""
        from utils.images import repositories  # only here: tests bring their own

        return cls(repositories())

    def program(self, image: str) -> Program:
        """What stands for an image.

        :raises ImageError: when nothing does.
        """
        name = repository(image)
        if name in BQETL_REPOSITORIES:
            return Program("bqetl", (sys.executable, "-m", "wtmo.local.bqetl"))
        if name in SIDECAR_REPOSITORIES:
            return Program("own command")
        if name in self._repositories:
            return Program("recorder", (sys.executable, "-m", "wtmo.local.pods.recorder", image), expands=False)
        raise ImageError(
            "ErrImagePull", f'image "{image}" is not in the registry (utils/images.py) and has no stand-in'
        )
