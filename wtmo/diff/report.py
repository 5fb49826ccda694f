"""Tells a difference: on a terminal, as markdown for a pull request, as JSON for programs."""

from __future__ import annotations

import difflib
import html
import json
import re
from collections import Counter
from typing import TYPE_CHECKING

from utils.tags import impact_tier
from wtmo.diff import facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wtmo.diff.compare import Change, Difference, Entry, Found, Node
    from wtmo.diff.impact import Impact
    from wtmo.graph.model import Dag, File, Json

LONGEST = 60_000
"""Characters of a comment. GitHub refuses one of more than 65,536."""
MOST_NAMES = 40
"""Names that a list of DAGs or tasks shows before it only counts."""
FEW_NAMES = 4
"""Likewise on a terminal."""
OPEN_LINES = 12
"""Lines of a list that a comment shows before it folds the rest."""
RENAMED = "perhaps renamed: runs and their history stay with the old name"
MOST_LINES = 60
"""Lines of one text's difference, likewise."""
WIDEST = 160
"""Characters of one value, likewise."""

_SECONDS = re.compile(r"(?:^|\.)(?:\w*(?:timeout|_delay|_interval|_wait|_seconds)|shift|max_wait|dagrun_timeout)$")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def text(difference: Difference, impact: Impact | None = None) -> str:
    """For a terminal."""
    if difference.empty:
        return "no difference\n"
    lines = [_headline(difference)]
    lines += [f"{line}" for line in _impact_lines(impact)]
    for file in difference.refused:
        lines += ["", *_refusal(file, difference)]
    for file in difference.mended:
        lines += ["", f"{file.name} loads again: {_names([(dag.dag_id, None) for dag in file.dags])}"]
    for title, sign, found, dags in _sides(difference):
        if found.nodes:
            lines += ["", title, *(f"  {sign} {line}" for line in _found_lines(found, dags, sign, FEW_NAMES))]
    if renamed := _rename_lines(difference, FEW_NAMES):
        lines += ["", RENAMED, *(f"  {line}" for line in renamed)]
    if difference.entries:
        lines += ["", "changed"]
        for entry in difference.entries:
            lines.append(f"  {_names(entry.nodes, most=FEW_NAMES)}{'' if entry.same else ', in the same way'}")
            lines += [f"    {line}" for change in entry.changes for line in _change_lines(change)]
            if not entry.same:
                lines.append(f"    (values of {_name(entry.nodes[0])})")
    return "\n".join([*lines, ""])


def markdown(difference: Difference, impact: Impact | None = None, *, how: str = "wtmo diff BASE HEAD") -> str:
    """For a comment on a pull request: at most :data:`LONGEST` characters, long lists folded.

    :param how: the command that shows all, told where something is left out.
    """
    if difference.empty:
        return "### DAGs: no difference\n"
    blocks = [f"### {_headline(difference)}\n"]
    if told := _impact_lines(impact):
        blocks.append("\n".join(f"- {_escaped(line)}" for line in told) + "\n")
        blocks.append(_impact_details(impact))
    for file in difference.refused:
        first, *rest = _refusal(file, difference)
        blocks.append(f"**{_escaped(first)}**\n{_fenced(rest, 'text')}")
    for file in difference.mended:
        names = _names([(dag.dag_id, None) for dag in file.dags])
        blocks.append(f"**{_code(file.name)} loads again**: {_escaped(names)}\n")
    for title, sign, found, dags in _sides(difference):
        if found.nodes:
            blocks.append(_folded(title, _found_lines(found, dags, sign, MOST_NAMES)))
    if renamed := _rename_lines(difference, MOST_NAMES):
        blocks.append(_folded(RENAMED, renamed))
    if difference.entries:
        blocks.append("#### Changed\n")
        blocks += [_markdown_entry(entry) for entry in difference.entries]
    return _bounded(blocks, how)


def data(difference: Difference, impact: Impact | None = None) -> dict[str, Json]:
    """For programs. Nodes are ``[dag_id, task_id or null]``."""
    return {
        "date": difference.head.date,
        "empty": difference.empty,
        "refused": [{"file": file.name, "line": file.line, "reason": file.refused} for file in difference.refused],
        "mended": [file.name for file in difference.mended],
        "unreadable": [file.name for file in difference.unreadable],
        "added": [
            {"node": list(node), "perhaps_was": _pair(difference.added.like.get(node))}
            for node in difference.added.nodes
        ],
        "removed": [
            {"node": list(node), "perhaps_is": _pair(difference.removed.like.get(node))}
            for node in difference.removed.nodes
        ],
        "changed": [
            {
                "nodes": [list(node) for node in entry.nodes],
                "same_values": entry.same,
                "changes": [{"fact": each.name, "before": each.before, "after": each.after} for each in entry.changes],
            }
            for entry in difference.entries
        ],
        "impact": impact.to_json() if impact else None,
    }


# --- parts


def _pair(node: Node | None) -> list[str | None] | None:
    return None if node is None else list(node)


def _headline(difference: Difference) -> str:
    def count(nodes: Iterable[Node], word: str) -> list[str]:
        nodes = list(nodes)
        dags, tasks = sum(task is None for _, task in nodes), sum(task is not None for _, task in nodes)
        return [f"{_counted(number, what)} {word}" for number, what in ((dags, "DAG"), (tasks, "task")) if number]

    changed = {node for entry in difference.entries for node in entry.nodes}
    parts = [
        *([f"{_counted(len(difference.refused), 'file')} no longer loading"] if difference.refused else []),
        *([f"{_counted(len(difference.mended), 'file')} loading again"] if difference.mended else []),
        *count(difference.added.nodes, "new"),
        *count(difference.removed.nodes, "gone"),
        *count(changed, "changed"),
    ]
    return f"DAGs: {', '.join(parts)}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _sides(difference: Difference) -> Iterator[tuple[str, str, Found, Mapping[str, Dag]]]:
    yield "new", "+", difference.added, difference.head.dags
    yield "gone", "-", difference.removed, difference.base.dags


def _impact_lines(impact: Impact | None) -> list[str]:
    if impact is None:
        return []
    inside = f"{_counted(impact.inside, 'further task')} of the changed DAGs" if impact.inside else ""
    if not impact.dags:
        return [
            f"downstream of it: {inside}, and nothing in other DAGs"
            if inside
            else "nothing else depends on what changed"
        ]
    tiers = ", ".join(
        f"{tier}: {_counted(len(dags), 'DAG')} with {_counted(impact.tasks[tier], 'task')}"
        for tier, dags in impact.dags.items()
    )
    total = sum(map(len, impact.dags.values()))
    lines = [f"downstream of it: {_counted(total, 'other DAG')} ({tiers})" + (f", and {inside}" if inside else "")]
    if impact.first:
        at, dag_id = min((at, dag_id) for dag_id, at in impact.first.items())
        lines.append(f"first affected run: {dag_id}, {_moment(at)}")
    return lines


def _impact_details(impact: Impact | None) -> str:
    if impact is None or not impact.dags:
        return ""
    lines = []
    for tier, dags in impact.dags.items():
        shown = [f"{_code(dag_id)}{_first_run(impact, dag_id)}" for dag_id in dags[:MOST_NAMES]]
        more = f" and {len(dags) - MOST_NAMES} more" if len(dags) > MOST_NAMES else ""
        lines.append(f"- {tier}: {', '.join(shown)}{more}")
    return _details("which DAGs, and the first run of each that is affected", "\n".join(lines))


def _first_run(impact: Impact, dag_id: str) -> str:
    return f" ({_moment(impact.first[dag_id])})" if dag_id in impact.first else ""


def _refusal(file: File, difference: Difference) -> list[str]:
    where = f"{file.name}{f' line {file.line}' if file.line else ''}"
    hidden = [
        dag for was in difference.base.files if (was.bundle, was.name) == (file.bundle, file.name) for dag in was.dags
    ]
    names = f"; not compared: {_names([(dag.dag_id, None) for dag in hidden])}" if hidden else ""
    return [
        f"{where} no longer loads{names}",
        *(f"  {line}" for line in (file.refused or "").strip().splitlines()[-MOST_LINES:]),
    ]


def _found_lines(found: Found, dags: Mapping[str, Dag], sign: str, most: int) -> list[str]:
    """One line a DAG; tasks of one id and kind in many DAGs are one line, those of one DAG another."""
    lines = []
    for dag_id, task_id in found.nodes:
        if task_id is None:
            dag = dags[dag_id]
            schedule = facts.schedule_text(dag.schedule) or "started by hand"
            first = f", first run {_moment(dag.fires[0][2])}" if sign == "+" and dag.fires else ""
            lines.append(
                f"DAG {dag_id} ({_tier(dag)}, {schedule}{first}, {_counted(len(dag.tasks), 'task')})"
                + _renamed(found.like.get((dag_id, None)), sign)
            )
    tasks = [(dag_id, task_id) for dag_id, task_id in found.nodes if task_id is not None]
    shared = Counter((task_id, _kind((dag_id, task_id), dags)) for dag_id, task_id in tasks)
    for (task_id, kind), number in shared.items():
        if number > 1:
            homes: list[Node] = [(dag_id, None) for dag_id, each in tasks if each == task_id]
            lines.append(f"task {task_id} ({kind}) in {_names(homes, most)}")
    alone = [node for node in tasks if shared[node[1], _kind(node, dags)] == 1]
    for dag_id in dict.fromkeys(dag_id for dag_id, _ in alone):
        kinds: dict[str, list[str]] = {}
        for node in alone:
            if node[0] == dag_id:
                kinds.setdefault(_kind(node, dags), []).append(node[1])
        told = [f"{_listed(names, most)} ({kind})" for kind, names in sorted(kinds.items())]
        number = sum(map(len, kinds.values()))
        lines.append(f"{'task' if number == 1 else f'{number} tasks'} of {dag_id}: {'; '.join(told)}")
    return lines


def _rename_lines(difference: Difference, most: int) -> list[str]:
    """Tasks that may be the same under another name, a line a DAG."""
    pairs: dict[str, list[str]] = {}
    for (dag_id, old), (_, new) in difference.removed.like.items():
        if old is not None:
            pairs.setdefault(dag_id, []).append(f"{old} → {new}")
    return [f"{dag_id}: {_listed(sorted(of), most)}" for dag_id, of in sorted(pairs.items())]


def _listed(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _renamed(other: Node | None, sign: str) -> str:
    if other is None:
        return ""
    told = f": perhaps {_name(other)} before" if sign == "+" else f": perhaps {_name(other)} now"
    return told + ("; its runs and their history stay with the old name" if sign == "-" else "")


def _kind(node: tuple[str, str | None], dags: Mapping[str, Dag]) -> str:
    return dags[node[0]].by_id[str(node[1])].kind


def _tier(dag: Dag) -> str:
    return (impact_tier(dag.tags) or "no tier").replace("_", " ")


def _name(node: Node) -> str:
    return node[0] if node[1] is None else f"{node[0]}.{node[1]}"


def _names(nodes: Sequence[Node], most: int = MOST_NAMES) -> str:
    """Names, where they are many their number first."""
    if len(nodes) == 1:
        return _name(nodes[0])
    of_dags = nodes[0][1] is None
    what = _counted(len(nodes), "DAG" if of_dags else "task")
    if not of_dags:
        dags = {dag_id for dag_id, _ in nodes}
        what += f" of {next(iter(dags))}" if len(dags) == 1 else f" of {len(dags)} DAGs"
    shown = [
        (node[1] or "") if not of_dags and len({d for d, _ in nodes}) == 1 else _name(node) for node in nodes[:most]
    ]
    return f"{what}: {', '.join(shown)}" + (f" and {len(nodes) - most} more" if len(nodes) > most else "")


# --- changes


def _change_lines(change: Change) -> list[str]:
    """A change in as few lines as tell it."""
    name = _title(change.name)
    if _is_text(change):
        return [f"{name}:", *(f"  {line}" for line in _unified(change))]
    if change.name == "next_runs":
        return [f"{name}: {_runs(change)}"]
    if change.items:
        return [f"{name}: {step}" for step in _list_steps(change)]
    return [f"{name}: {_value(change.name, change.before)} → {_value(change.name, change.after)}"]


def _runs(change: Change) -> str:
    """The runs as they will be, and the first one as it was."""
    was = f" (before: {_moment(change.before[0])}, …)" if change.before else " (before: none)"
    return (", ".join(map(_moment, change.after)) if change.after else "none") + was


def _title(name: str) -> str:
    return name.removeprefix("rendered.") + " (rendered)" if name.startswith("rendered.") else name


def _is_text(change: Change) -> bool:
    return any(isinstance(value, str) and "\n" in value for value in (change.before, change.after))


def _unified(change: Change) -> list[str]:
    before, after = (
        (value or "").splitlines() if isinstance(value, str | None) else [_value("", value)]
        for value in (change.before, change.after)
    )
    lines = [
        line for line in difflib.unified_diff(before, after, n=1, lineterm="") if not line.startswith(("---", "+++"))
    ]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"… {len(lines) - MOST_LINES} more lines"]
    return lines


def _list_steps(change: Change) -> list[str]:
    """``+ new``, ``- old`` or ``old → new`` for each item."""
    return [
        f"{_plain(old)} → {_plain(new)}"
        if old is not None and new is not None
        else f"- {_plain(old)}"
        if new is None
        else f"+ {_plain(new)}"
        for old, new in change.items
    ]


def _value(name: str, value: Json) -> str:
    if value is None:
        return "(none)"
    if _SECONDS.search(name) and isinstance(value, int | float) and not isinstance(value, bool):
        return _duration(float(value))
    return _plain(value)


def _plain(value: Json) -> str:
    told = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    told = told.replace("\n", "⏎")
    return told if len(told) <= WIDEST else f"{told[: WIDEST - 1]}…"


def _duration(seconds: float) -> str:
    """``1 h 30 min``.

    >>> _duration(5400), _duration(0), _duration(-3600), _duration(0.5)
    ('1 h 30 min', '0 s', '-1 h', '0.5 s')
    """
    if seconds != int(seconds):
        return f"{seconds} s"
    rest, parts = abs(int(seconds)), []
    for size, unit in _UNITS:
        if rest >= size:
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return ("-" if seconds < 0 else "") + (" ".join(parts) or "0 s")


def _moment(iso: str) -> str:
    """``2026-06-01 02:00``, UTC."""
    return iso[:16].replace("T", " ")


# --- markdown


def _markdown_entry(entry: Entry) -> str:
    lines = []
    for change in entry.changes:
        name = _title(change.name)
        if _is_text(change):
            lines.append(_details(f"{html.escape(name)}", _fenced(_unified(change), "diff")))
        elif change.name == "next_runs":
            lines.append(f"  - {_code(name)}: {_code(_runs(change))}")
        elif change.items:
            lines.append(f"  - {_code(name)}: {'; '.join(map(_code, _list_steps(change)))}")
        else:
            values = (_code(_value(change.name, value)) for value in (change.before, change.after))
            lines.append(f"  - {_code(name)}: {' → '.join(values)}")
    example = "" if entry.same else f", in the same way; here {_code(_name(entry.nodes[0]))}"
    if len(entry.nodes) == 1:
        return "\n".join([f"- **{_code(_name(entry.nodes[0]))}**", *lines, ""])
    title, _, names = _names(entry.nodes).partition(": ")
    which = _details("which", "\n" + _escaped(names) + "\n")
    return "\n".join([f"- **{_escaped(title)}**{example}", *lines, which, ""])


def _code(words: str) -> str:
    """A code span, whatever is in it."""
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", words)), default=0) + 1)
    pad = " " if words.startswith("`") or words.endswith("`") or not words.strip() else ""
    return f"{ticks}{pad}{words}{pad}{ticks}"


def _escaped(words: str) -> str:
    """Words in which nothing is markdown, HTML, a mention or an issue's number."""
    words = re.sub(r"([\\`*{}\[\]|~!]|(?<!\w)_|_(?!\w))", r"\\\1", html.escape(words, quote=False))
    # GitHub looks for mentions in what is rendered: only another character between helps.
    return re.sub(r"(@|(?<!&)#)", "\\1\u200b", words)


def _fenced(lines: Sequence[str], language: str) -> str:
    body = "\n".join(lines)
    fence = "`" * max(3, max((len(run) for run in re.findall(r"`+", body)), default=0) + 1)
    return f"\n{fence}{language}\n{body}\n{fence}\n"


def _details(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n</details>\n"


def _folded(title: str, lines: Sequence[str]) -> str:
    """A list under a title, folded beyond :data:`OPEN_LINES` lines, or from the first long one on."""
    told = [f"- {_escaped(line)}" for line in lines]
    open_ = next((number for number, line in enumerate(lines[:OPEN_LINES]) if len(line) > WIDEST), OPEN_LINES)
    shown = "\n".join([f"#### {title[:1].upper()}{title[1:]}", "", *told[:open_], ""])
    left = told[open_:]
    return shown + (
        "\n" + _details(_counted(len(left), "further line" if open_ else "line"), "\n".join(left)) if left else ""
    )


def _bounded(blocks: Sequence[str], how: str) -> str:
    kept, used = [], 0
    room = LONGEST - 200 - len(how)
    for number, block in enumerate(blocks):
        if used + len(block) + 1 > room:
            left = len(blocks) - number
            kept.append(
                f"\n… and {left} more {'entry' if left == 1 else 'entries'}, too long for a comment: {_code(how)} shows all.\n"
            )
            break
        kept.append(block)
        used += len(block) + 1
    return "\n".join(kept)
