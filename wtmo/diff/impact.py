"""Whom a difference touches: DAGs and tasks downstream, by tier, and the first run of each DAG that is affected."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from wtmo.graph.graph import NO_TIER, Graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wtmo.diff.compare import Difference
    from wtmo.graph.graph import Affected
    from wtmo.graph.model import Json


@dataclass(frozen=True)
class Impact:
    """What is downstream of what changed.

    :param dags: ids of other DAGs by tier (``tier 1``, ``no tier``), the gravest tier first.
    :param tasks: number of their tasks that are downstream, by tier.
    :param inside: number of tasks downstream in the changed DAGs themselves that did not change.
    :param first: by DAG, when its first affected run begins, ISO 8601 in UTC; also of the changed ones.
    """

    dags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)
    inside: int = 0
    first: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """As plain data."""
        return asdict(self)


def impact(difference: Difference) -> Impact:
    """What comes after what changed or is new, on the head side, and after what is gone, on the base side, if it is still there."""
    ours, gone = difference.touched
    head, base = Graph(difference.head), Graph(difference.base)
    found: dict[tuple[str, str], Affected] = {}
    for graph, nodes in ((head, ours), (base, gone)):
        for affected in (each for of_tier in graph.blast_radius(nodes).values() for each in of_tier):
            if affected.node in head.tasks and affected.node not in ours:
                found.setdefault(affected.node, affected)
    changed = {dag_id for dag_id, _ in ours | gone}
    dags: dict[str, set[str]] = {}
    tasks: dict[str, int] = {}
    first: dict[str, str] = {}
    for dag_id, _ in sorted(ours):
        if fires := head.dags[dag_id].fires:
            first[dag_id] = fires[0][2]
    for (dag_id, _), affected in sorted(found.items()):
        tier = "no tier" if affected.tier == NO_TIER else affected.tier.replace("_", " ")
        if dag_id not in changed:
            dags.setdefault(tier, set()).add(dag_id)
            tasks[tier] = tasks.get(tier, 0) + 1
        if affected.first_run:
            begins = {logical: end for logical, _, end in head.dags[dag_id].fires}.get(
                affected.first_run, affected.first_run
            )
            first[dag_id] = min(first.get(dag_id, begins), begins)
    tiers = sorted(dags, key=lambda tier: (tier == "no tier", tier))
    return Impact(
        {tier: tuple(sorted(dags[tier])) for tier in tiers},
        {tier: tasks[tier] for tier in tiers},
        sum(dag_id in changed for dag_id, _ in found),
        dict(sorted(first.items())),
    )
