"""POOL: slots that are waited for can become free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils.pools import POOLS
from wtmo.checks.rule import of_task, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.checks.rule import Finding, Look
    from wtmo.graph.model import Dag, Task

_DEFAULT = "default_pool"


def pool_of(task: Task) -> str:
    """The pool of a task."""
    return str(task.attributes.get("pool") or _DEFAULT)


def waits_for(dag: Dag, task: Task) -> str | None:
    """The DAG that a task waits for while it holds a slot: it neither defers nor gives the slot back between looks."""
    if task.attributes.get("deferrable"):
        return None
    if task.waits is not None and not task.marker and task.attributes.get("mode", "poke") == "poke":
        return task.waits.of_dag
    if task.starts is not None and task.attributes.get("wait_for_completion"):
        return task.starts
    return None


@rule(
    "POOL001",
    "When such sensors have all slots of a pool, what they wait for never gets one.",
    fix="Let it wait without a slot: wait_for(...), deferrable=True or mode='reschedule'. Or give it a pool of its own.",
)
def can_deadlock(look: Look) -> Iterator[Finding]:
    """A task that waits for another DAG and holds a slot meanwhile does not take it from the pool that what it waits for needs, itself or
    through what that waits for.
    """
    for dag, task in look.tasks():
        target = waits_for(dag, task)
        if target is None or target not in look.dags:
            continue
        needed = _needs(look, dag, task)
        if pool_of(task) in needed:
            other = needed[pool_of(task)]
            yield of_task(
                dag, task, f"holds a slot of the pool {pool_of(task)} while it waits for {other}, which needs one too"
            )


def _needs(look: Look, dag: Dag, task: Task) -> dict[str, str]:
    """The pools that what a task waits for needs before it is done, each with the first task that does."""
    wait = task.waits
    target = look.dags[waits_for(dag, task) or ""]
    wanted = set(wait.of_tasks) if wait else set()
    if wait and wait.of_group:
        wanted |= {each.task_id for each in target.tasks if (each.group or "").startswith(wait.of_group)}
    waiting = [(target, each) for each in target.tasks if not wanted or each.task_id in wanted]
    seen: set[tuple[str, str]] = set()
    found: dict[str, str] = {}
    while waiting:
        of, each = waiting.pop(0)
        if (of.dag_id, each.task_id) in seen:
            continue
        seen.add((of.dag_id, each.task_id))
        if not each.is_a("EmptyOperator"):
            found.setdefault(pool_of(each), f"{of.dag_id}.{each.task_id}")
        waiting += [(of, of.by_id[name]) for name in each.upstream if name in of.by_id]
        if each.waits and not each.marker and (next_dag := look.dags.get(each.waits.of_dag)):
            names = set(each.waits.of_tasks)
            waiting += [(next_dag, other) for other in next_dag.tasks if not names or other.task_id in names]
    return found


@rule(
    "POOL002",
    "A task that asks for more slots than its pool has is never started.",
    fix="Ask for fewer with pool_slots=, or give the pool more in utils/pools.py.",
)
def enough_slots(look: Look) -> Iterator[Finding]:
    """No task asks for more slots than its pool has."""
    slots = {pool.name: pool.slots for pool in POOLS}
    for dag, task in look.tasks():
        wanted, there = task.attributes.get("pool_slots") or 1, slots.get(pool_of(task))
        if there is not None and wanted > there:
            yield of_task(dag, task, f"asks for {wanted} slots of the pool {pool_of(task)}, which has {there}")
