"""Compares two inventories: what is added, what is gone, what changed, with equal changes of many tasks told once."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from wtmo.diff import facts

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

    from wtmo.graph.model import Dag, File, Inventory, Json, Task

Node = tuple[str, str | None]
"""A DAG's id and a task's, or None for the DAG itself."""

ALIKE = 0.6
"""Share of equal facts from which something that is gone and something that is new may be one thing under another name."""


@dataclass(frozen=True)
class Change:
    """One fact that differs.

    :param name: of the fact (:mod:`wtmo.diff.facts`).
    :param before: its value. None: there was none.
    :param after: its value now. None: there is none.
    """

    name: str
    before: Json
    after: Json

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """What was taken away (``-``) and put in (``+``), without what stayed: for many tasks often the same where values are not.

        >>> Change("arguments", ["--day={{ ds }}", "--table=a_v1"], ["--day={{ ds }}", "--table=a_v2"]).steps
        (('-', '--table=v1'), ('+', '--table=v2'))
        >>> Change("retries", 1, 2).steps
        (('-', '1'), ('+', '2'))
        """
        before, after = _parts(self.before), _parts(self.after)
        steps: list[tuple[str, str]] = []
        for kind, start, end, new_start, new_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            if kind != "equal" and isinstance(self.before, list) and isinstance(self.after, list):
                steps += _item_steps(before[start:end], after[new_start:new_end])
            elif kind != "equal":
                steps += [("-", part) for part in ("".join(before[start:end]),) if part]
                steps += [("+", part) for part in ("".join(after[new_start:new_end]),) if part]
        return tuple(steps)

    @property
    def items(self) -> tuple[tuple[str | None, str | None], ...]:
        """Of lists, each item before and after, None where there was or is none; of other values nothing.

        >>> Change("arguments", ["--x=1", "--y"], ["--x=2", "--y", "--z"]).items
        (('--x=1', '--x=2'), (None, '--z'))
        """
        if not isinstance(self.before if self.after is None else self.after, list):
            return ()
        before, after = _parts(self.before), _parts(self.after)
        found: list[tuple[str | None, str | None]] = []
        for kind, start, end, new_start, new_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            if kind == "replace" and end - start == new_end - new_start:
                found += zip(before[start:end], after[new_start:new_end], strict=True)
            elif kind != "equal":
                found += [(each, None) for each in before[start:end]]
                found += [(None, each) for each in after[new_start:new_end]]
        return tuple(found)

    @property
    def has_effect(self) -> bool:
        """Whether it can change what a task does to data."""
        return _stem(self.name) not in facts.WITHOUT_EFFECT


@dataclass(frozen=True)
class Entry:
    """The same changes of one or many DAGs or tasks.

    :param changes: of the first one, by name.
    :param nodes: all of them, sorted.
    :param same: whether the values are equal for all of them, not only the way they changed.
    """

    changes: tuple[Change, ...]
    nodes: tuple[Node, ...]
    same: bool = True

    @property
    def of_dags(self) -> bool:
        """Whether it is of DAGs themselves."""
        return self.nodes[0][1] is None


@dataclass(frozen=True)
class Found:
    """Something that is there on one side only.

    :param nodes: DAGs or tasks, sorted.
    :param like: by node, what it may have been called before, or may be called now.
    """

    nodes: tuple[Node, ...] = ()
    like: Mapping[Node, Node] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """What differs between two inventories.

    :param base: before.
    :param head: after.
    :param refused: files that no longer load: their DAGs are not compared.
    :param mended: files that load and did not before.
    :param unreadable: files that load on neither side.
    :param added: DAGs, and tasks of DAGs that are on both sides.
    :param removed: likewise.
    :param entries: what changed, the most far-reaching first.
    """

    base: Inventory
    head: Inventory
    refused: tuple[File, ...] = ()
    mended: tuple[File, ...] = ()
    unreadable: tuple[File, ...] = ()
    added: Found = Found()
    removed: Found = Found()
    entries: tuple[Entry, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether both sides say the same."""
        return not (self.refused or self.mended or self.added.nodes or self.removed.nodes or self.entries)

    @property
    def touched(self) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """Tasks that do something else or that are new, on the head side, and tasks that are gone, on the base side.

        A DAG's change is one of all its tasks; a change without effect on data is none.
        """
        ours, gone = set(self.added.nodes), set(self.removed.nodes)
        for entry in self.entries:
            if any(change.has_effect for change in entry.changes):
                ours.update(entry.nodes)
        return set(_tasks(ours, self.head.dags)), set(_tasks(gone, self.base.dags))


def compare(base: Inventory, head: Inventory) -> Difference:
    """Everything that differs, grouped."""
    before, after = base.dags, head.dags
    was_refused, is_refused = _refused(base), _refused(head)
    # A DAG of a file that does not load on the other side is neither new nor gone: nobody knows.
    hidden = _dags_of(base, is_refused) - after.keys() | _dags_of(head, was_refused) - before.keys()
    both = [dag_id for dag_id in before if dag_id in after]
    new_dags = [dag_id for dag_id in after if dag_id not in before and dag_id not in hidden]
    gone_dags = [dag_id for dag_id in before if dag_id not in after and dag_id not in hidden]
    added: set[Node] = {(dag_id, None) for dag_id in new_dags}
    removed: set[Node] = {(dag_id, None) for dag_id in gone_dags}
    like = _likes(
        {(dag_id, None): _dag_words(before[dag_id]) for dag_id in gone_dags},
        {(dag_id, None): _dag_words(after[dag_id]) for dag_id in new_dags},
    )
    changes: dict[Node, list[Change]] = {}
    for dag_id in both:
        old, new = before[dag_id], after[dag_id]
        if old == new:
            continue
        changes[dag_id, None] = list(_changes_of_dag(old, new))
        more, less = new.by_id.keys() - old.by_id.keys(), old.by_id.keys() - new.by_id.keys()
        added |= {(dag_id, task_id) for task_id in more}
        removed |= {(dag_id, task_id) for task_id in less}
        if more and less:
            like |= _likes(
                {
                    (dag_id, task_id): words
                    for task_id, words in _task_words(old, [old.by_id[each] for each in less]).items()
                },
                {
                    (dag_id, task_id): words
                    for task_id, words in _task_words(new, [new.by_id[each] for each in more]).items()
                },
            )
        for task_id in sorted(old.by_id.keys() & new.by_id.keys()):
            changes[dag_id, task_id] = list(_changes_of_task(old, new, task_id, ignored=more | less))
    return Difference(
        base,
        head,
        refused=tuple(file for key, file in is_refused.items() if key not in was_refused),
        mended=tuple(file for key, file in was_refused.items() if key not in is_refused and key in _files(head)),
        unreadable=tuple(file for key, file in is_refused.items() if key in was_refused),
        added=Found(tuple(sorted(added, key=_order)), {new: old for old, new in like.items()}),
        removed=Found(tuple(sorted(removed, key=_order)), like),
        entries=_grouped(changes),
    )


def _stem(name: str) -> str:
    """A fact's name without the path behind it."""
    return re.split(r"[.\[]", name, maxsplit=1)[0]


def _order(node: Node) -> tuple[str, str]:
    return node[0], node[1] or ""


def _tasks(nodes: Iterable[Node], dags: Mapping[str, Dag]) -> Iterator[tuple[str, str]]:
    for dag_id, task_id in nodes:
        if task_id is not None:
            yield dag_id, task_id
        elif dag_id in dags:
            yield from ((dag_id, task.task_id) for task in dags[dag_id].tasks)


def _files(inventory: Inventory) -> dict[tuple[str, str], File]:
    return {(file.bundle, file.name): file for file in inventory.files}


def _refused(inventory: Inventory) -> dict[tuple[str, str], File]:
    return {key: file for key, file in _files(inventory).items() if file.refused is not None}


def _dags_of(inventory: Inventory, files: Iterable[tuple[str, str]]) -> set[str]:
    wanted = set(files)
    return {dag.dag_id for key, file in _files(inventory).items() if key in wanted for dag in file.dags}


# --- what changed


def _changes_of_dag(old: Dag, new: Dag) -> Iterator[Change]:
    yield from _differing(facts.of_dag(old), facts.of_dag(new))


def _changes_of_task(old: Dag, new: Dag, task_id: str, *, ignored: set[str]) -> Iterator[Change]:
    """What changed of one task.

    :param ignored: tasks that are new or gone: that it comes after them no longer, or now, is told with them.
    """
    before, after = old.by_id[task_id], new.by_id[task_id]
    if before == after:
        return
    same_run = old.run == new.run
    found = list(_differing(_task_facts(before, old, same_run), _task_facts(after, new, same_run)))
    written = {
        re.split(r"[.\[]", change.name)[0] for change in found if not change.name.startswith(("rendered.", "pod."))
    }
    for change in found:
        if change.name == "after":
            kept = [each for each in change.before or () if each not in ignored]
            now = [each for each in change.after or () if each not in ignored]
            # Put between two tasks, a new one takes the place of the edge between them.
            if kept == now or _passed(kept, now, task_id, old, new, ignored):
                continue
            yield change
        elif change.name.startswith("rendered."):
            if _stem(change.name.removeprefix("rendered.")) not in written:
                yield change
        elif change.name.startswith("query.") and after.pod is not None and written & {"arguments", "cmds"}:
            continue  # read off the arguments, which are told
        elif change.name.startswith("pod."):
            if not _pod_told(change.name.removeprefix("pod."), written, found):
                yield change
        else:
            yield change


def _passed(kept: list[str], now: list[str], task_id: str, old: Dag, new: Dag, ignored: set[str]) -> bool:
    """Whether edges that went or came lead over a new or gone task now or before."""
    lost, got = set(kept) - set(now), set(now) - set(kept)
    return all(_leads(new, each, task_id, ignored) for each in lost) and all(
        _leads(old, each, task_id, ignored) for each in got
    )


def _leads(dag: Dag, start: str, end: str, over: set[str]) -> bool:
    """Whether a path over tasks of a set alone leads from one task to another."""
    tasks, seen = dag.by_id, set()
    waiting = list(tasks[end].upstream)
    while waiting:
        task_id = waiting.pop()
        if task_id == start:
            return True
        if task_id in over and task_id in tasks and task_id not in seen:
            seen.add(task_id)
            waiting += tasks[task_id].upstream
    return False


def _task_facts(task: Task, dag: Dag, same_run: bool) -> dict[str, Json]:
    found = facts.of_task(task)
    if same_run:
        return found
    return {
        name: facts.without_dates(value, dag.run) if name.startswith(("rendered.", "pod.")) else value
        for name, value in found.items()
    }


def _pod_told(path: str, written: set[str], found: Iterable[Change]) -> bool:
    """Whether a part of the manifest changed because an attribute did that is told itself, or a text that renders otherwise."""
    told = written | {_stem(each.name.removeprefix("rendered.")) for each in found if each.name.startswith("rendered.")}
    return any(
        path == place or path.startswith((f"{place}.", f"{place}["))
        for place, sources in facts.POD_SOURCES.items()
        if told & set(sources)
    )


def _differing(before: Mapping[str, Json], after: Mapping[str, Json]) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Change(name, before.get(name), after.get(name))


# --- how values changed


def _parts(value: Json) -> list[str]:
    """What a value is compared by: a list's items, a text's words with what is between them."""
    if value is None:
        return []
    if isinstance(value, list):
        return [each if isinstance(each, str) else json.dumps(each, sort_keys=True) for each in value]
    return _words(value) if isinstance(value, str) else [json.dumps(value, sort_keys=True)]


def _words(text: str) -> list[str]:
    return text.splitlines(keepends=True) if "\n" in text else re.findall(r"[^\W_]+|\s+|.", text)


def _item_steps(old: list[str], new: list[str]) -> list[tuple[str, str]]:
    """Items that took the place of as many others are compared word by word, each with the option that it is a value of."""
    if len(old) != len(new):
        return [("-", each) for each in old] + [("+", each) for each in new]
    steps = []
    for before, after in zip(old, new, strict=True):
        option = re.match(r"--?[\w-]+=", before)
        shared = option[0] if option and after.startswith(option[0]) else ""
        steps += [(sign, f"{shared}{part}") for sign, part in Change("", before, after).steps]
    return steps


# --- the same change, once


def _grouped(changes: Mapping[Node, list[Change]]) -> tuple[Entry, ...]:
    """Changes that were made in the same way are one; ways that the same tasks have in common are one entry."""
    ways: dict[Hashable, dict[Node, Change]] = {}
    for node, of_node in changes.items():
        for change in of_node:
            key = (node[1] is None, change.name, change.steps)
            ways.setdefault(key, {})[node] = change
    together: dict[tuple[Node, ...], list[dict[Node, Change]]] = {}
    for way in ways.values():
        together.setdefault(tuple(sorted(way, key=_order)), []).append(way)
    entries = []
    for nodes, group in together.items():
        first = tuple(sorted((way[nodes[0]] for way in group), key=lambda change: _rank(change.name)))
        same = all(_seen(way[node]) == _seen(way[nodes[0]]) for way in group for node in nodes)
        entries.append(Entry(first, nodes, same))
    return tuple(sorted(entries, key=lambda entry: (not entry.of_dags, -len(entry.nodes), _order(entry.nodes[0]))))


def _seen(change: Change) -> object:
    """What a reader is shown of a change."""
    return change.items or change


_FIRST = (
    "operator",
    "schedule",
    "next_runs",
    "start_date",
    "catchup",
    "after",
    "waits_for",
    "starts",
    "image",
    "cmds",
    "arguments",
)
_LAST = tuple(sorted(facts.WITHOUT_EFFECT))


def _rank(name: str) -> tuple[int, str]:
    """What a reviewer looks at first comes first, what has no effect last."""
    head = _stem(name)
    if head in _FIRST:
        return _FIRST.index(head), name
    return (len(_FIRST) + 1 if head in _LAST else len(_FIRST)), name


# --- what may be the same under another name


def _dag_words(dag: Dag) -> Counter[str]:
    return Counter(
        [f"task {task.task_id} {task.kind}" for task in dag.tasks] + [f"schedule {facts.schedule_text(dag.schedule)}"]
    )


_TELLING = (
    "after",
    "arguments",
    "calls",
    "cmds",
    "env_vars",
    "image",
    "op_kwargs",
    "query",
    "rendered",
    "secrets",
    "sql",
    "starts",
    "waits_for",
)


def _task_words(dag: Dag, among: Iterable[Task]) -> dict[str, Counter[str]]:
    """What tells a task from its neighbours: words of what it does, without those that most tasks of the DAG have too."""
    words = {}
    for task in dag.tasks:
        told = {name: value for name, value in facts.of_task(task).items() if _stem(name) in _TELLING}
        text = json.dumps(told, sort_keys=True)
        words[task.task_id] = {f"{task.kind} {word}" for word in re.findall(r"[^\W_]+", text)} | {f"is a {task.kind}"}
    shared = Counter(word for of_task in words.values() for word in of_task)
    few = max(2, len(words) // 2)
    return {task.task_id: Counter(word for word in words[task.task_id] if shared[word] <= few) for task in among}


def _likes(gone: Mapping[Node, Counter[str]], new: Mapping[Node, Counter[str]]) -> dict[Node, Node]:
    """Of what is gone, what it may be called now: the most alike pairs first, each thing once."""
    pairs = []
    for old, words in gone.items():
        for now, others in new.items():
            share = (words & others).total() / max((words | others).total(), 1)
            if share >= ALIKE and (words & others):
                pairs.append((-share, _order(old), _order(now), old, now))
    found: dict[Node, Node] = {}
    for *_, old, now in sorted(pairs, key=lambda pair: pair[:3]):
        if old not in found and now not in found.values():
            found[old] = now
    return found
