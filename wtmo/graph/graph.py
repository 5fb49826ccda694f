"""One graph of all tasks of all DAGs: what comes after what, inside a DAG and across DAGs, and for which run.

A node is ``(dag_id, task_id)``. Edges inside a DAG are the DAG's. Those across DAGs come from sensors, markers, tasks that start a
run, and assets; each maps logical dates of the run before to those of the run after, both ways. BigQuery tables that query
tasks read and write are a second layer (:mod:`wtmo.graph.tables`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from utils.tags import impact_tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wtmo.graph.model import Dag, Inventory, Task, Wait
    from wtmo.graph.tables import Tables

Node = tuple[str, str]
"""``(dag_id, task_id)``"""

NO_TIER = "none"


@dataclass(frozen=True)
class CrossEdge:
    """One task of a DAG comes after one of another, or of an earlier run of the same one.

    :param upstream: what comes first: the task waited for, the task that starts the other DAG, or that writes the asset.
    :param downstream: the sensor that waits, or a first task of what is started.
    :param how: ``sensor``, ``marker`` (which no sensor answers), ``trigger`` or ``asset``.
    :param wait: of a sensor or a marker, with its dates. None: the run that follows has the date of its start.
    """

    upstream: Node
    downstream: Node
    how: str
    wait: Wait | None = None

    def to_downstream(self, date: str) -> tuple[str, ...]:
        """Logical dates of the runs after the one of this date. Empty: there is none, or it can't be told."""
        return _mapped(self.wait, date, backwards=self.how != "marker") if self.wait else (date,)

    def to_upstream(self, date: str) -> tuple[str, ...]:
        """Logical dates of the runs that the one of this date comes after."""
        return _mapped(self.wait, date, backwards=self.how == "marker") if self.wait else (date,)


def _mapped(wait: Wait, date: str, *, backwards: bool) -> tuple[str, ...]:
    """From the date of the run that has the wait to those that it names; backwards, from one of those to the runs that name it."""
    if wait.error is not None:
        return ()
    if wait.delta is not None:
        shift = timedelta(seconds=wait.delta)
        return ((_moment(date) + (shift if backwards else -shift)).isoformat(),)
    if backwards:
        return tuple(own for own, others in wait.dates if date in others)
    return next((others for own, others in wait.dates if own == date), ())


def _moment(date: str) -> datetime:
    moment = datetime.fromisoformat(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


@dataclass(frozen=True)
class Affected:
    """A task that a change reaches.

    :param node: the task.
    :param tier: its DAG's impact tier, ``tier_1`` to ``tier_3``, or ``none``.
    :param first_run: logical date of the first run of its DAG that is reached. None: the DAG has no schedule, or it can't be told.
    :param distance: how many edges away.
    """

    node: Node
    tier: str
    first_run: str | None
    distance: int


class Graph:
    """The graph of an inventory. What costs is worked out when it is first asked for.

    :param inventory: all DAGs.
    """

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.dags: Mapping[str, Dag] = inventory.dags
        self.tasks: dict[Node, Task] = {
            (dag_id, task.task_id): task for dag_id, dag in self.dags.items() for task in dag.tasks
        }

    @property
    def nodes(self) -> list[Node]:
        """All tasks, sorted."""
        return sorted(self.tasks)

    # --- edges

    @cached_property
    def inner(self) -> list[tuple[Node, Node]]:
        """Edges inside the DAGs, from before to after. Sorted."""
        return sorted(
            ((dag_id, before), (dag_id, task_id))
            for (dag_id, task_id), task in self.tasks.items()
            for before in task.upstream
            if (dag_id, before) in self.tasks
        )

    @cached_property
    def edges(self) -> list[CrossEdge]:
        """Edges across DAGs, and from a run to a later one of the same DAG, whose both ends are there. Sorted.

        What a marker points to is one only where no sensor there waits for the marker's DAG.
        """
        found: dict[tuple[Node, Node, str], CrossEdge] = {}
        waits = sorted(
            ((node, task, task.waits) for node, task in self.tasks.items() if task.waits is not None),
            key=lambda entry: (entry[1].marker, entry[0]),
        )
        answered: set[tuple[str, Node]] = set()
        for node, task, wait in waits:
            for other in self._targets(wait):
                if not task.marker:
                    answered.add((other[0], node))
                    found[other, node, "sensor"] = CrossEdge(other, node, "sensor", wait)
                elif (node[0], other) not in answered:
                    found[node, other, "marker"] = CrossEdge(node, other, "marker", wait)
        for node, task in self.tasks.items():
            for first in self._roots(task.starts) if task.starts else ():
                found[node, first, "trigger"] = CrossEdge(node, first, "trigger")
        for node, first in self._of_assets():
            found[node, first, "asset"] = CrossEdge(node, first, "asset")
        return [edge for _, edge in sorted(found.items())]

    def _targets(self, wait: Wait) -> list[Node]:
        """The tasks that a sensor waits for: of a whole run or of a group, those that nothing of it comes after."""
        dag = self.dags.get(wait.of_dag)
        if dag is None:
            return []
        if wait.of_tasks:
            return [(dag.dag_id, name) for name in wait.of_tasks if (dag.dag_id, name) in self.tasks]
        group = wait.of_group
        within = {
            task.task_id
            for task in dag.tasks
            if group is None or task.task_id.startswith(f"{group}.") or task.group == group
        }
        before = {name for task in dag.tasks if task.task_id in within for name in task.upstream}
        return [(dag.dag_id, name) for name in sorted(within - before)]

    def _roots(self, dag_id: str) -> list[Node]:
        dag = self.dags.get(dag_id)
        return [] if dag is None else [(dag_id, task.task_id) for task in dag.tasks if not task.upstream]

    def _of_assets(self) -> Iterable[tuple[Node, Node]]:
        writers: dict[str, list[Node]] = {}
        for node, task in self.tasks.items():
            for outlet in task.attributes.get("outlets") or []:
                if isinstance(outlet, dict):
                    facts = next((each for each in outlet.values() if isinstance(each, dict)), outlet)
                    for name in {facts.get("uri"), facts.get("name")} - {None}:
                        writers.setdefault(str(name), []).append(node)
        for dag_id, dag in self.dags.items():
            wanted = {str(asset[key]) for asset in dag.schedule.get("assets", ()) for key in ("name", "uri")}
            for node in sorted({node for name in wanted for node in writers.get(name, ())}):
                for first in self._roots(dag_id):
                    yield node, first

    @cached_property
    def _after(self) -> dict[Node, list[tuple[Node, CrossEdge | None]]]:
        found: dict[Node, list[tuple[Node, CrossEdge | None]]] = {node: [] for node in self.tasks}
        for before, after in self.inner:
            found[before].append((after, None))
        for edge in self.edges:
            found[edge.upstream].append((edge.downstream, edge))
        return found

    @cached_property
    def _before(self) -> dict[Node, list[tuple[Node, CrossEdge | None]]]:
        found: dict[Node, list[tuple[Node, CrossEdge | None]]] = {node: [] for node in self.tasks}
        for before, after in self.inner:
            found[after].append((before, None))
        for edge in self.edges:
            found[edge.downstream].append((edge.upstream, edge))
        return found

    def after(self, node: Node) -> list[tuple[Node, CrossEdge | None]]:
        """What comes right after a task; the edge where it leads to another run."""
        return self._after.get(node, [])

    def before(self, node: Node) -> list[tuple[Node, CrossEdge | None]]:
        """What comes right before a task."""
        return self._before.get(node, [])

    # --- questions

    def of(self, dag_id: str) -> list[Node]:
        """All tasks of a DAG."""
        return [(dag_id, task.task_id) for task in self.dags[dag_id].tasks] if dag_id in self.dags else []

    def downstream(self, *nodes: Node, depth: int | None = None) -> dict[Node, int]:
        """What comes after tasks, in all DAGs, with its distance in edges; those themselves are left out.

        :param depth: at most so many edges away. Default: any.
        """
        return _reached(nodes, self._after, depth)

    def upstream(self, *nodes: Node, depth: int | None = None) -> dict[Node, int]:
        """What comes before tasks, likewise."""
        return _reached(nodes, self._before, depth)

    def tier(self, dag_id: str) -> str:
        """A DAG's impact tier, ``tier_1`` to ``tier_3``, or ``none``."""
        return (impact_tier(self.dags[dag_id].tags) if dag_id in self.dags else None) or NO_TIER

    def blast_radius(self, nodes: Iterable[Node], *, since: str | None = None) -> dict[str, list[Affected]]:
        """What a change of tasks reaches, they themselves left out: by tier, ``tier_1`` first, each in the order of its ids.

        :param since: logical date, ISO 8601, from which runs of the changed tasks' DAGs are others. Default: the first of each
            DAG's year.
        """
        given = [node for node in nodes if node in self.tasks]
        first: dict[Node, str | None] = {node: self._first(node[0], since) for node in given}
        distance = self.downstream(*given)
        for node in [*given, *sorted(distance, key=lambda each: (distance[each], each))]:
            for below, edge in self._after[node]:
                date = first.get(node)
                reached = date if edge is None else self._reached_run(below[0], edge, date)
                known = first.get(below)
                if below not in first or (reached is not None and (known is None or reached < known)):
                    first[below] = reached
        found: dict[str, list[Affected]] = {}
        for node in sorted(distance):
            tier = self.tier(node[0])
            found.setdefault(tier, []).append(Affected(node, tier, first.get(node), distance[node]))
        return dict(sorted(found.items(), key=lambda entry: (entry[0] == NO_TIER, entry[0])))

    def _first(self, dag_id: str, since: str | None) -> str | None:
        fires = self.dags[dag_id].fires
        if since is None:
            return fires[0][0] if fires else None
        bound = _moment(since)
        return next((fire[0] for fire in fires if _moment(fire[0]) >= bound), None)

    def _reached_run(self, dag_id: str, edge: CrossEdge, date: str | None) -> str | None:
        """The run of the downstream DAG that the upstream's of a date leads to: one that its timetable makes, or the next one."""
        if date is None:
            return None
        dates = edge.to_downstream(date)
        if dates and edge.how in {"trigger", "asset"}:
            return dates[0]
        return self._first(dag_id, min(dates)) if dates else None

    def cycles(self) -> list[list[Node]]:
        """Rings of tasks that wait for themselves, or for a later run of theirs: each one shortest, from its smallest node on.

        A ring that leads to an earlier run is none: a DAG may wait for its own run of yesterday. Where the dates of an edge can't be
        told it counts as one of the same date; where they differ from run to run, by the nearest ones.
        """
        rings = []
        for part in _connected(self._after):
            within = set(part)
            weighted = [
                (node, below, _weight(edge)) for node in part for below, edge in self._after[node] if below in within
            ]
            potential = dict.fromkeys(part, 0.0)
            for _ in part:
                changed = [(u, v, w) for u, v, w in weighted if potential[u] + w < potential[v]]
                for before, after, weight in changed:
                    potential[after] = min(potential[after], potential[before] + weight)
            # Where dates go round and come back later than they were, this never settles: those edges make the rings.
            tight: dict[Node, list[tuple[Node, CrossEdge | None]]] = {node: [] for node in part}
            for before, after, weight in weighted:
                if potential[before] + weight <= potential[after]:
                    tight[before].append((after, None))
            rings += _rings(tight)
        return sorted(rings)

    def longest_path(self, *nodes: Node) -> list[Node]:
        """The longest chain of tasks by the number of edges, among the given tasks or all. Rings are entered once.

        :param nodes: Default: all.
        """
        wanted = set(nodes) or set(self.tasks)
        best: dict[Node, tuple[int, Node | None]] = {}
        for node in _ordered(wanted, self._after):
            options = [(best[below][0] + 1, below) for below, _ in self._after[node] if below in best]
            best[node] = max(options, default=(0, None), key=lambda option: option[0])
        if not best:
            return []
        at: Node | None = max(sorted(best), key=lambda node: best[node][0])
        path = []
        while at is not None:
            path.append(at)
            at = best[at][1]
        return path

    @cached_property
    def tables(self) -> Tables:
        """BigQuery tables that query tasks read and write."""
        from wtmo.graph.tables import Tables

        return Tables(self)


def _weight(edge: CrossEdge | None) -> float:
    """Seconds from the logical date of the run before to that of the run after."""
    wait = edge.wait if edge is not None else None
    if edge is None or wait is None or wait.error is not None:
        return 0.0
    sign = -1 if edge.how == "marker" else 1
    if wait.delta is not None:
        return sign * wait.delta
    shifts = [sign * (_moment(own) - _moment(other)).total_seconds() for own, others in wait.dates for other in others]
    return min(shifts, default=0.0)


def _reached(
    nodes: Iterable[Node], edges: Mapping[Node, list[tuple[Node, CrossEdge | None]]], depth: int | None
) -> dict[Node, int]:
    found = dict.fromkeys(nodes, 0)
    given, queue = set(found), deque(found)
    while queue:
        node = queue.popleft()
        if depth is not None and found[node] >= depth:
            continue
        for other, _ in edges.get(node, ()):
            if other not in found:
                found[other] = found[node] + 1
                queue.append(other)
    return {node: distance for node, distance in found.items() if node not in given}


def _ordered(wanted: set[Node], edges: Mapping[Node, list[tuple[Node, CrossEdge | None]]]) -> list[Node]:
    """Nodes so that each stands after all that comes after it, but for rings."""
    done: set[Node] = set()
    order: list[Node] = []
    for start in sorted(wanted):
        stack: list[tuple[Node, bool]] = [(start, False)]
        while stack:
            node, left = stack.pop()
            if left:
                order.append(node)
            elif node not in done:
                done.add(node)
                stack.append((node, True))
                stack += [(below, False) for below, _ in edges[node] if below in wanted and below not in done]
    return order


def _rings(edges: Mapping[Node, list[tuple[Node, CrossEdge | None]]]) -> list[list[Node]]:
    """One shortest ring through each smallest node of what is strongly connected, and through each further node not yet in one."""
    found = []
    for part in _connected(edges):
        left = set(part)
        while left:
            start = min(left)
            ring = _shortest_ring(start, set(part), edges)
            found.append(ring)
            left -= set(ring)
    return sorted(found)


def _shortest_ring(
    start: Node, part: set[Node], edges: Mapping[Node, list[tuple[Node, CrossEdge | None]]]
) -> list[Node]:
    came: dict[Node, Node] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for below, _ in edges[node]:
            if below == start:
                ring = [node]
                while ring[-1] != start:
                    ring.append(came[ring[-1]])
                return ring[::-1]
            if below in part and below not in came:
                came[below] = node
                queue.append(below)
    return [start]


def _connected(edges: Mapping[Node, list[tuple[Node, CrossEdge | None]]]) -> list[list[Node]]:
    """What is strongly connected, of more than one node or with an edge to itself (Tarjan's, without recursion)."""
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    stack: list[Node] = []
    on_stack: set[Node] = set()
    found: list[list[Node]] = []
    for root in sorted(edges):
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, below = work[-1]
            for other, _ in below:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(edges[other])))
                    break
                if other in on_stack:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    part: list[Node] = []
                    while not part or part[-1] != node:
                        part.append(stack.pop())
                        on_stack.discard(part[-1])
                    if len(part) > 1 or any(other == node for other, _ in edges[node]):
                        found.append(part)
    return found
