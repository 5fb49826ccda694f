"""``wtmo graph``: what comes before and after a DAG or a task, across DAGs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from utils.names import did_you_mean
from wtmo import console
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.tree import Tree

    from wtmo.graph.graph import CrossEdge, Graph, Node

_COLOURS = {"tier_1": "red", "tier_2": "yellow", "tier_3": "blue"}


def graph(
    what: Annotated[str, typer.Argument(metavar="DAG|TASK", help="A DAG's id, or <dag id>.<task id>.")],
    up: Annotated[bool, typer.Option("--up", help="Only what comes before.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what comes after.")] = False,
    depth: Annotated[int | None, typer.Option(min=1, help="At most so many edges away. Default: any.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a picture: a page with search, in one file.")
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a picture as SVG.")] = None,
    dags: Annotated[
        Path | None, typer.Option("--dags", help="Folder of hand-written DAGs. Default: this repository's.")
    ] = None,
    imported: Annotated[
        Path | None,
        typer.Option("--imported", help="Folder of imported DAGs as served. Default: what `wtmo import` serves."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a tree.")] = False,
) -> None:
    """Show what comes before and after a DAG or a task, across DAGs: as a tree, or as a picture in one file. Runs DAG files in a sandbox only."""
    from wtmo.checks import run
    from wtmo.graph.graph import Graph
    from wtmo.graph.inventory import inventory

    with console.errors():
        with console.file_progress("graph") as progress:
            whole = Graph(inventory(run.sources(dags, imported), report=progress))
        focus = find(whole, what)
        before = whole.upstream(*focus, depth=depth) if up or not down else {}
        after = whole.downstream(*focus, depth=depth) if down or not up else {}
        own = focus[0][0]
        about = ", ".join([
            *([f"{_counted(before, own)} before"] if up or not down else []),
            *([f"{_counted(after, own)} after"] if down or not up else []),
            *([f"at most {depth} edge{'s' if depth > 1 else ''} away"] if depth else []),
        ])
        if html or svg:
            from wtmo.graph import picture

            boxes, arrows = picture.picture(whole, focus, {*before, *after})
            for path, draw in ((html, picture.html), (svg, picture.svg)):
                if path is not None:
                    try:
                        path.write_text(draw(boxes, arrows, what, about), encoding="utf-8")
                    except OSError as error:
                        raise WtmoError(f"can't write {path}: {error.strerror}", fix="name another file") from error
                    console.err.print(f"wrote {path}", markup=False, highlight=False)
        if as_json:
            console.print_json(_as_json(whole, focus, before, after))
        elif not (html or svg):
            for title, reached, side in (("before", before, whole.before), ("after", after, whole.after)):
                if reached or (title == "after") == (not up):
                    console.out.print(_tree(whole, focus, reached, side, title, what))


def _counted(reached: Mapping[Node, int], own: str) -> str:
    others = len({dag_id for dag_id, _ in reached} - {own})
    return f"{len(reached)} task{'s' if len(reached) != 1 else ''} of {others} other DAG{'s' if others != 1 else ''}"


def find(whole: Graph, what: str) -> list[Node]:
    """The tasks that are meant: of a DAG all, or the one.

    :raises WtmoError: there is no such DAG or task.
    """
    if what in whole.dags:
        return whole.of(what)
    # A task's id may have dots, of its groups; a DAG's too.
    for dag_id in sorted(whole.dags, key=len, reverse=True):
        if what.startswith(f"{dag_id}."):
            task_id = what.removeprefix(f"{dag_id}.")
            if (dag_id, task_id) in whole.tasks:
                return [(dag_id, task_id)]
            tasks = [task for _, task in whole.of(dag_id)]
            raise WtmoError(f"DAG {dag_id} has no task {task_id!r}", fix=did_you_mean(task_id, tasks))
    refused = next((file for file in whole.inventory.files if file.refused and Path(file.name).stem == what), None)
    if refused is not None:
        raise WtmoError(f"{refused.name} does not load: {refused.refused}", fix="wtmo check")
    raise WtmoError(f"there is no DAG {what!r}", fix=did_you_mean(what, whole.dags))


def _as_json(whole: Graph, focus: list[Node], before: Mapping[Node, int], after: Mapping[Node, int]) -> dict[str, Any]:
    first = {each.node: each.first_run for found in whole.blast_radius(focus).values() for each in found}
    shown = {*focus, *before, *after}

    def told(node: Node, distance: int) -> dict[str, Any]:
        return {"dag": node[0], "task": node[1], "tier": whole.tier(node[0]), "distance": distance}

    return {
        "focus": [{"dag": dag_id, "task": task_id} for dag_id, task_id in focus],
        "before": [told(node, distance) for node, distance in sorted(before.items())],
        "after": [told(node, distance) | {"first_run": first.get(node)} for node, distance in sorted(after.items())],
        "edges": [
            {
                "before": {"dag": edge.upstream[0], "task": edge.upstream[1]},
                "after": {"dag": edge.downstream[0], "task": edge.downstream[1]},
                "how": edge.how,
                "seconds_earlier": _earlier(edge),
            }
            for edge in whole.edges
            if edge.upstream in shown and edge.downstream in shown
        ],
    }


def _tree(whole: Graph, focus: list[Node], reached: Mapping[Node, int], side: Any, title: str, what: str) -> Tree:
    """DAGs, each once, below the nearest one through which it is reached."""
    from rich.markup import escape
    from rich.tree import Tree

    own = focus[0][0]
    tasks: dict[str, list[Node]] = {}
    for node in sorted(reached, key=lambda each: (reached[each], each)):
        tasks.setdefault(node[0], []).append(node)
    parents: dict[str, tuple[str, str]] = {}
    for node in sorted([*focus, *reached], key=lambda each: (reached.get(each, 0), each)):
        for other, edge in side(node):
            if (
                edge is not None
                and other[0] != own
                and other in reached
                and other[0] not in parents
                and other[0] != node[0]
            ):
                parents[other[0]] = (node[0], _how(edge))
    root = Tree(f"[bold]{escape(what)}[/]  {title}: {_counted(reached, own)}")
    branches = {own: root}
    if own in tasks:
        root.add(f"[dim]{len(tasks[own])} more tasks of its own[/]")
    for dag_id in sorted(parents, key=lambda each: (reached[tasks[each][0]], each)):
        above, how = parents[dag_id]
        tier = whole.tier(dag_id)
        colour = _COLOURS.get(tier, "white")
        count = len(tasks[dag_id])
        line = f"[{colour}]{escape(dag_id)}[/] [dim]{tier}, {count} task{'s' if count != 1 else ''}; {escape(how)}[/]"
        branches[dag_id] = branches.get(above, root).add(line)
    return root


def _earlier(edge: CrossEdge) -> float | None:
    """By how many seconds the run before has the earlier date. None: it differs, or can't be told."""
    if edge.wait is None or edge.wait.delta is None:
        return None
    return -edge.wait.delta if edge.how == "marker" else edge.wait.delta


def _how(edge: CrossEdge) -> str:
    shift = _earlier(edge)
    hours = f", {abs(shift) / 3600:g} h {'earlier' if shift > 0 else 'later'}" if shift else ""
    return f"{edge.upstream[1]} → {edge.downstream[1]} ({edge.how}{hours})"
