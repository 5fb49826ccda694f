"""Draws a part of the graph as one self-contained picture: SVG, or the same in an HTML page with search. No network.

Up to :data:`MOST_TASKS` tasks are drawn each, more as one box a DAG. What comes before stands left of what comes after; of a
column too long to read, the rest stands beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from wtmo.graph.graph import NO_TIER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from wtmo.graph.graph import Graph, Node

MOST_TASKS = 48
_MOST_ROWS = 22
_ROW, _GAP, _COLUMN_GAP, _SUB_GAP = 46, 14, 96, 18
_LETTER, _TITLE_LETTER, _PADDING, _LONGEST = 7.6, 12.6, 30, 44
_INNER, _LEGEND_WIDTH = "; grey: the same run", 420.0
_NO_NETWORK = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_TOP, _MARGIN = 92, 32
_SWEEPS = 8
TIERS = {
    "tier_1": ("#c62828", "#fdecea", "Tier 1"),
    "tier_2": ("#b26a00", "#fff4e0", "Tier 2"),
    "tier_3": ("#1565c0", "#e8f1fb", "Tier 3"),
    NO_TIER: ("#5f6368", "#f1f3f4", "no tier"),
}
"""Of each impact tier the colour, the fill and the name."""


@dataclass
class Box:
    """A DAG or a task in the picture.

    :param key: unique in the picture.
    :param title: first line. :param detail: second line.
    :param hint: what is shown when one points at it.
    :param tier: its DAG's.
    :param focus: whether it is what was asked for.
    """

    key: str
    title: str
    detail: str
    hint: str
    tier: str
    focus: bool = False
    group: str = ""
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0


@dataclass
class Arrow:
    """From a box to one that comes after it.

    :param weight: how many edges it stands for.
    :param crosses: whether it leads to another run.
    :param hints: what each edge is.
    """

    before: str
    after: str
    weight: int = 1
    crosses: bool = True
    hints: list[str] = field(default_factory=list)


def picture(graph: Graph, focus: Collection[Node], shown: Collection[Node]) -> tuple[list[Box], list[Arrow]]:
    """Boxes and arrows, laid out.

    :param focus: the tasks that were asked for.
    :param shown: all tasks to show, those among them.
    """
    wanted = set(shown) | set(focus)
    boxes, arrows = (_of_tasks if len(wanted) <= MOST_TASKS else _of_dags)(graph, set(focus), wanted)
    _lay_out(boxes, arrows)
    return boxes, arrows


def _of_tasks(graph: Graph, focus: set[Node], wanted: set[Node]) -> tuple[list[Box], list[Arrow]]:
    boxes = [
        Box(
            key=f"{dag_id}/{task_id}",
            title=task_id.rpartition(".")[2],
            detail=dag_id,
            hint=f"{dag_id}.{task_id}\n{graph.tasks[dag_id, task_id].kind}",
            tier=graph.tier(dag_id),
            focus=(dag_id, task_id) in focus,
            group=dag_id,
        )
        for dag_id, task_id in sorted(wanted)
    ]
    arrows = [
        Arrow("/".join(node), "/".join(below), crosses=edge is not None, hints=[edge.how if edge else ""])
        for node in sorted(wanted)
        for below, edge in graph.after(node)
        if below in wanted
    ]
    return boxes, arrows


def _of_dags(graph: Graph, focus: set[Node], wanted: set[Node]) -> tuple[list[Box], list[Arrow]]:
    counts = Counter(dag_id for dag_id, _ in wanted)
    centre = {dag_id for dag_id, _ in focus}
    boxes = []
    for dag_id, count in sorted(counts.items()):
        tasks = sorted(task for dag, task in wanted if dag == dag_id)
        more = f"\nand {len(tasks) - 12} more" if len(tasks) > 12 else ""
        boxes.append(
            Box(
                key=dag_id,
                title=dag_id,
                detail=f"{count} task{'s' if count != 1 else ''} · {_when(graph.dags[dag_id].schedule)}",
                hint="\n".join([dag_id, *tasks[:12]]) + more,
                tier=graph.tier(dag_id),
                focus=dag_id in centre,
                group=dag_id,
            )
        )
    arrows: dict[tuple[str, str], Arrow] = {}
    for edge in graph.edges:
        if edge.upstream in wanted and edge.downstream in wanted and edge.upstream[0] != edge.downstream[0]:
            pair = (edge.upstream[0], edge.downstream[0])
            arrow = arrows.setdefault(pair, Arrow(*pair, weight=0))
            arrow.weight += 1
            arrow.hints.append(f"{edge.upstream[1]} → {edge.downstream[1]} ({edge.how})")
    return boxes, [arrows[pair] for pair in sorted(arrows)]


def _when(schedule: Mapping[str, Any]) -> str:
    """When a DAG runs, in a few letters.

    >>> _when({"kind": "DeltaDataIntervalTimetable", "delta": 10800.0})
    'every 3 h'
    """
    if schedule.get("expression"):
        return str(schedule["expression"])
    if schedule.get("delta"):
        return f"every {float(schedule['delta']) / 3600:g} h"
    kind = str(schedule.get("kind") or "NullTimetable")
    return {"NullTimetable": "by hand", "OnceTimetable": "once"}.get(kind, kind.removesuffix("Timetable"))


def _lay_out(boxes: Sequence[Box], arrows: Iterable[Arrow]) -> None:
    after: dict[str, list[str]] = {box.key: [] for box in boxes}
    before: dict[str, list[str]] = {box.key: [] for box in boxes}
    for arrow in arrows:
        if arrow.before != arrow.after:
            after[arrow.before].append(arrow.after)
            before[arrow.after].append(arrow.before)
    layer = _layers(after)
    columns: list[list[Box]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    for box in boxes:
        columns[layer[box.key]].append(box)
    _order(columns, before, after)
    at = float(_MARGIN)
    # Of a long column parts of the same length.
    lengths = [-(-len(column) // max(-(-len(column) // _MOST_ROWS), 1)) for column in columns]
    tallest = max(lengths, default=1)
    for column, rows in zip(columns, lengths, strict=True):
        for start in range(0, len(column), max(rows, 1)):
            part = column[start : start + rows]
            width = max(_width(box) for box in part)
            top = _TOP + (tallest - len(part)) * (_ROW + _GAP) / 2
            for number, box in enumerate(part):
                box.x, box.y, box.width = at, top + number * (_ROW + _GAP), width
            at += width + _SUB_GAP
        at += _COLUMN_GAP - _SUB_GAP


def _width(box: Box) -> float:
    longest = max(len(_short(box.title)) * _LETTER * 1.06, len(_short(box.detail)) * _LETTER * 0.86)
    return round(longest + _PADDING, 1)


def _short(text: str) -> str:
    """The two ends of a long text.

    >>> len(_short("a" * 90))
    44
    """
    half = (_LONGEST - 1) // 2
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1 - half]}…{text[-half:]}"


def _layers(after: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The column of each box: right of all that comes before it. Where a ring closes, it is cut."""
    state: dict[str, int] = {}
    order: list[str] = []
    kept: dict[str, list[str]] = {key: [] for key in after}
    for root in sorted(after):
        if root in state:
            continue
        stack = [(root, iter(after[root]))]
        state[root] = 1
        while stack:
            key, below = stack[-1]
            for other in below:
                if state.get(other) == 1:
                    continue  # closes a ring
                kept[key].append(other)
                if other not in state:
                    state[other] = 1
                    stack.append((other, iter(after[other])))
                    break
            else:
                state[key] = 2
                order.append(key)
                stack.pop()
    found = dict.fromkeys(after, 0)
    for key in reversed(order):
        for other in kept[key]:
            found[other] = max(found[other], found[key] + 1)
    # What nothing comes before stands next to what comes after it.
    has_before = {other for below in kept.values() for other in below}
    for key in after:
        if key not in has_before and kept[key]:
            found[key] = min(found[other] for other in kept[key]) - 1
    return found


def _order(columns: list[list[Box]], before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> None:
    """Boxes of a column near what they are joined to, so that few arrows cross."""
    for column in columns:
        column.sort(key=lambda box: (box.tier == NO_TIER, box.tier, box.group, box.key))
    for sweep in range(_SWEEPS):
        place = {box.key: number / max(len(column), 1) for column in columns for number, box in enumerate(column)}
        neighbours = before if sweep % 2 == 0 else after

        def middle(box: Box, near: Mapping[str, Sequence[str]] = neighbours, at: Mapping[str, float] = place) -> float:
            found = [at[key] for key in near[box.key]]
            return sum(found) / len(found) if found else at[box.key]

        for column in columns:
            column.sort(key=lambda box: (middle(box), box.tier, box.group, box.key))


def svg(boxes: Sequence[Box], arrows: Sequence[Arrow], title: str, about: str) -> str:
    """The picture as SVG, a document of its own."""
    width = max((box.x + box.width for box in boxes), default=400) + _MARGIN
    legend, legend_width = _legend({box.tier for box in boxes}, any(box.focus for box in boxes))
    # A title is as long as the id of a task, what stands below it longer still.
    named = max(len(title) * _TITLE_LETTER + legend_width + _COLUMN_GAP, len(about) * _LETTER) + 2 * _MARGIN
    width = max(width, 760, round(named))
    height = max((box.y + _ROW for box in boxes), default=200) + _MARGIN
    by_key = {box.key: box for box in boxes}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'role="img" aria-label="{escape(title)}" font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif">',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="9" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="context-stroke"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="38" class="title">{escape(title)}</text>',
        f'<text x="{_MARGIN}" y="60" class="about">{escape(about)}</text>',
        f'<g transform="translate({width - _MARGIN - legend_width:g} 0)">{legend}</g>',
        '<g class="arrows">',
        *(_arrow(arrow, by_key) for arrow in arrows),
        "</g>",
        *(_box(box) for box in boxes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend(tiers: Collection[str], focus: bool) -> tuple[str, float]:
    """What colours and frames mean, from 0 on, and how wide that is."""
    shown = [(fill, colour, 1.1, name) for tier, (colour, fill, name) in TIERS.items() if tier in tiers]
    if focus:
        shown.append(("#ffffff", "#202124", 3.2, "asked for"))
    parts, at = [], 0.0
    for fill, colour, line, name in shown:
        parts.append(
            f'<rect x="{at:g}" y="26" width="14" height="14" rx="3" fill="{fill}" stroke="{colour}" stroke-width="{line}"/>'
            f'<text x="{at + 20:g}" y="38" class="legend">{name}</text>'
        )
        at += 20 + len(name) * _LETTER + _SUB_GAP
    parts.append(f'<text x="0" y="60" class="legend">An arrow has the colour of where it starts{_INNER}</text>')
    return "".join(parts), max(at, _LEGEND_WIDTH)


def _arrow(arrow: Arrow, boxes: Mapping[str, Box]) -> str:
    before, after = boxes[arrow.before], boxes[arrow.after]
    x1, y1 = before.x + before.width, before.y + _ROW / 2
    x2, y2 = after.x, after.y + _ROW / 2
    if x2 >= x1:
        bend = max(36.0, (x2 - x1) * 0.45)
        path = f"M{x1:g} {y1:g} C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
    else:  # back, or within a column: around below
        low = max(y1, y2) + _ROW
        path = f"M{x1:g} {y1:g} C{x1 + 60:g} {low:g} {x2 - 60:g} {low:g} {x2:g} {y2:g}"
    colour = TIERS.get(before.tier, TIERS[NO_TIER])[0] if arrow.crosses else "#9aa0a6"
    hints = [hint for hint in arrow.hints if hint][:12]
    told = (
        f"<title>{escape(f'{before.title} → {after.title}')}{escape(''.join(chr(10) + hint for hint in hints))}</title>"
    )
    line = 1.2 + min(arrow.weight, 9) * 0.2
    return (
        f'<path class="arrow" data-before="{escape(arrow.before)}" data-after="{escape(arrow.after)}" d="{path}" '
        f'stroke="{colour}" stroke-width="{line:g}" marker-end="url(#tip)">{told}</path>'
    )


def _box(box: Box) -> str:
    colour, fill, _ = TIERS.get(box.tier, TIERS[NO_TIER])
    classes = "box focus" if box.focus else "box"
    return (
        f'<g class="{classes}" data-key="{escape(box.key)}" transform="translate({box.x:g} {box.y:g})">'
        f"<title>{escape(box.hint)}</title>"
        f'<rect width="{box.width:g}" height="{_ROW}" rx="7" fill="{fill}" stroke="{colour}"/>'
        f'<rect width="6" height="{_ROW}" rx="3" fill="{colour}"/>'
        f'<text x="16" y="20" class="name">{escape(_short(box.title))}</text>'
        f'<text x="16" y="37" class="detail">{escape(_short(box.detail))}</text></g>'
    )


def _chips(tiers: Collection[str]) -> str:
    """The colours once more, where they stay while the picture is moved."""
    return "".join(
        f'<span class="chip" style="background:{fill};border-color:{colour}">{name}</span>'
        for tier, (colour, fill, name) in TIERS.items()
        if tier in tiers
    )


def html(boxes: Sequence[Box], arrows: Sequence[Arrow], title: str, about: str) -> str:
    """The picture as a page: search, zoom with the wheel, move by dragging, and what a box is joined to when one points at it."""
    # No "<" at all: "<!--" and "<script" change what ends a script.
    pairs = json.dumps([[arrow.before, arrow.after] for arrow in arrows]).replace("<", "\\u003c")
    drawn = svg(boxes, arrows, title, about)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_NO_NETWORK}">\n<title>{escape(title)}</title>\n<style>{_PAGE_STYLE}</style>\n'
        '<header><input id="find" type="search" placeholder="Search a DAG or a task" aria-label="Search" autofocus>'
        f'<output id="count"></output>{_chips({box.tier for box in boxes})}'
        '<button id="whole" type="button">Whole picture</button></header>\n'
        f'<main id="view">{drawn}</main>\n<script>const pairs = {pairs};\n{_SCRIPT}</script>\n</html>\n'
    )


_STYLE = (
    ".title{font-size:20px;font-weight:650;fill:#202124}.about,.legend{font-size:13px;fill:#5f6368}"
    ".name{font-size:13px;font-weight:600;fill:#202124}.detail{font-size:11px;fill:#5f6368}"
    ".arrow{fill:none;stroke-opacity:.38}.box.focus>rect:first-of-type{stroke-width:3.2}"
    ".box>rect:first-of-type{stroke-width:1.1}"
)
_PAGE_STYLE = (
    "html,body{margin:0;height:100%;background:#fff;font-family:system-ui,sans-serif}body{display:flex;flex-direction:column}"
    "header{display:flex;gap:12px;align-items:center;padding:10px 16px;border-bottom:1px solid #dadce0}"
    "input{font:inherit;padding:7px 12px;width:22em;border:1px solid #bdc1c6;border-radius:8px}output{color:#5f6368;flex:1}"
    "button{font:inherit;padding:6px 12px;border:1px solid #bdc1c6;border-radius:8px;background:#fff;cursor:pointer}"
    ".chip{padding:3px 10px;border:1px solid;border-left-width:6px;border-radius:6px;font-size:13px;white-space:nowrap}"
    "main{flex:1;overflow:hidden;cursor:grab}main.drags{cursor:grabbing}svg{width:100%;height:100%;display:block}"
    ".box{cursor:pointer;transition:opacity .12s}.arrow{transition:stroke-opacity .12s}"
    "svg.asks .box:not(.on){opacity:.16}svg.asks .arrow:not(.on){stroke-opacity:.04}svg.asks .arrow.on{stroke-opacity:.9}"
)
_SCRIPT = """\
const svg = document.querySelector("svg"), view = document.getElementById("view");
const find = document.getElementById("find"), count = document.getElementById("count");
const boxes = [...svg.querySelectorAll(".box")], arrows = [...svg.querySelectorAll(".arrow")];
const after = {}, before = {};
for (const [a, b] of pairs) { (after[a] ??= []).push(b); (before[b] ??= []).push(a); }
const reached = (key, edges) => {
  const seen = new Set([key]), queue = [key];
  while (queue.length) for (const next of edges[queue.pop()] ?? []) if (!seen.has(next)) { seen.add(next); queue.push(next); }
  return seen;
};
const LEGIBLE = 0.75;
const whole = svg.getAttribute("viewBox").split(" ").map(Number);
let box = [...whole], held = null;
const show = () => svg.setAttribute("viewBox", box.join(" "));
// What is too small to be read when it is shown whole begins at what was asked for.
const start = () => {
  const { clientWidth: wide, clientHeight: high } = view, scale = Math.min(wide / whole[2], high / whole[3]);
  if (scale >= LEGIBLE) return;
  const across = wide / LEGIBLE, down = high / LEGIBLE, focus = svg.querySelector(".box.focus");
  const at = focus ? focus.getBBox() : { width: 0, height: 0 }, place = focus ? focus.transform.baseVal[0].matrix : { e: 0, f: 0 };
  const near = (middle, size, all) => size >= all ? (all - size) / 2 : Math.min(Math.max(middle - size / 2, 0), all - size);
  box = [near(place.e + at.width / 2, across, whole[2]), near(place.f + at.height / 2, down, whole[3]), across, down];
  show();
};
const mark = (keys, ups, downs) => {
  svg.classList.toggle("asks", keys !== null);
  if (keys === null) return;
  for (const each of boxes) each.classList.toggle("on", keys.has(each.dataset.key));
  for (const each of arrows) {
    const a = each.dataset.before, b = each.dataset.after;
    each.classList.toggle("on", (ups?.has(a) && ups.has(b)) || (downs?.has(a) && downs.has(b)) || false);
  }
};
const search = () => {
  const text = find.value.trim().toLowerCase();
  if (!text) { count.value = held ? told(held) : ""; mark(held && held.keys, held?.ups, held?.downs); return; }
  const found = boxes.filter(each => each.querySelector("title").textContent.toLowerCase().includes(text));
  count.value = `${found.length} of ${boxes.length}`;
  mark(new Set(found.map(each => each.dataset.key)));
};
const told = each => `${each.ups.size - 1} before, ${each.downs.size - 1} after`;
const joined = key => {
  const ups = reached(key, before), downs = reached(key, after);
  return { key, ups, downs, keys: new Set([...ups, ...downs]) };
};
for (const each of boxes) {
  each.addEventListener("mouseenter", () => { if (!held && !find.value) { const at = joined(each.dataset.key); mark(at.keys, at.ups, at.downs); } });
  each.addEventListener("mouseleave", () => { if (!held && !find.value) mark(null); });
  each.addEventListener("click", () => {
    held = held?.key === each.dataset.key ? null : joined(each.dataset.key);
    find.value = ""; count.value = held ? told(held) : "";
    mark(held && held.keys, held?.ups, held?.downs);
  });
}
find.addEventListener("input", search);
document.getElementById("whole").addEventListener("click", () => { box = [...whole]; held = null; find.value = ""; count.value = ""; mark(null); show(); });
view.addEventListener("wheel", event => {
  event.preventDefault();
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const by = Math.min(Math.max(event.deltaY > 0 ? 1.15 : 1 / 1.15, whole[2] / 40 / box[2]), whole[2] * 3 / box[2]);
  box = [point.x - (point.x - box[0]) * by, point.y - (point.y - box[1]) * by, box[2] * by, box[3] * by];
  show();
}, { passive: false });
let grip = null;
view.addEventListener("pointerdown", event => { if (!event.target.closest(".box")) { grip = [event.clientX, event.clientY, ...box]; view.setPointerCapture(event.pointerId); view.classList.add("drags"); } });
view.addEventListener("pointermove", event => {
  if (!grip) return;
  const scale = 1 / svg.getScreenCTM().a;
  box[0] = grip[2] - (event.clientX - grip[0]) * scale; box[1] = grip[3] - (event.clientY - grip[1]) * scale; show();
});
start();
view.addEventListener("pointerup", () => { grip = null; view.classList.remove("drags"); });
"""
