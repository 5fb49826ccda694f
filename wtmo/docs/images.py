"""Which images run in which DAGs, and which of them can change without a change of this repository."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from utils.images import IMAGES, image_of
from utils.tags import impact_tier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wtmo.graph.model import Dag, Task


@dataclass(frozen=True)
class Use:
    """An image as DAGs run it.

    :param image: its name in :mod:`utils.images`; the reference itself where that is not declared.
    :param repository: registry and path.
    :param source: URL of its code. None: not published, or not known.
    :param pin: the tag or digest that runs. A template: it is set when the task runs.
    :param floats: whether that names what was pushed last, and not a version.
    :param tier: the highest impact tier of the DAGs that run it, ``1`` to ``3``. None: no DAG does.
    :param dags: their ids, sorted.
    """

    image: str
    repository: str
    source: str | None
    pin: str
    floats: bool
    tier: int | None
    dags: tuple[str, ...]


def uses(dags: Iterable[Dag], *, tier: int | None = None) -> list[Use]:
    """Every declared image and every other one that a pod runs: those of tier 1 that float first, then by tier and name.

    :param tier: look at DAGs of this impact tier alone. Default: at all.
    """
    found: dict[str, dict[str, int | None]] = {image.reference: {} for image in IMAGES.values()}
    for dag in dags:
        name = impact_tier(dag.tags)
        of = int(name[-1]) if name else None
        if tier is not None and of != tier:
            continue
        for task in dag.tasks:
            if reference := _image(task):
                found.setdefault(reference, {})[dag.dag_id] = of
    listed = [_use(reference, tiers) for reference, tiers in found.items()]
    return sorted(listed, key=lambda use: (not use.floats, use.tier or 9, use.image, use.pin))


def _image(task: Task) -> str | None:
    """The reference that a task's pod pulls, as written, a mapped task's too."""
    reference = task.attributes.get("image")
    return reference if isinstance(reference, str) else None


def _use(reference: str, tiers: dict[str, int | None]) -> Use:
    declared = image_of(reference)
    tier = min((tier for tier in tiers.values() if tier), default=None)
    if declared is None:
        return Use(reference, reference, None, "", floats=True, tier=tier, dags=tuple(sorted(tiers)))
    pin = reference.removeprefix(declared.repository)[1:]
    floats = "{{" not in pin and replace(declared, tag=pin).floats
    return Use(declared.name, declared.repository, declared.source, pin, floats, tier, tuple(sorted(tiers)))
