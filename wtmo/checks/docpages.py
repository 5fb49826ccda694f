"""DOC: the page of a DAG tells on-call what they need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wtmo.checks.rule import of_dag, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.checks.rule import Finding, Look
    from wtmo.graph.model import Dag

HEADINGS = ("Where the data comes from and goes", "When it fails", "How to re-run it")
"""Second-level headings of a page, in this order."""

_HEADING = re.compile(r"^## +(.*?)\s*$", re.MULTILINE)


def _page(dag: Dag) -> str:
    return str(dag.attributes.get("doc_md") or "").strip()


@rule(
    "DOC001",
    "The triage engineer of the day has never seen the DAG before: the page is all there is.",
    fix="Write the file's docstring and give the DAG doc_md=__doc__.",
)
def has_page(look: Look) -> Iterator[Finding]:
    """Every DAG has a page: ``doc_md``."""
    for dag in look.dags.values():
        if not _page(dag):
            yield of_dag(dag, "has no page")


@rule(
    "DOC002",
    "Who is called at night looks under a heading, not through a text.",
    fix="Put it into the file's docstring, in this order: ## " + ", ## ".join(HEADINGS) + ".",
)
def sections(look: Look) -> Iterator[Finding]:
    """The page of a hand-written DAG has the three headings, in their order, and a text under each."""
    for dag in look.dags.values():
        page = _page(dag)
        if not page or not look.is_own(dag):
            continue
        found = [heading for heading in _HEADING.findall(page) if heading in HEADINGS]
        missing = [heading for heading in HEADINGS if heading not in found]
        texts = dict(zip(_HEADING.findall(page), _HEADING.split(page)[2::2], strict=True))
        empty = [heading for heading in found if not texts[heading].strip()]
        if missing:
            yield of_dag(dag, f"its page has no {' and no '.join(f'## {heading}' for heading in missing)}")
        elif found != list(HEADINGS):
            yield of_dag(dag, "the headings of its page are in another order")
        elif empty:
            yield of_dag(dag, f"its page says nothing under {' and '.join(f'## {heading}' for heading in empty)}")


@rule(
    "DOC003",
    "The first line is what catalogue and search show.",
    fix="Begin the file's docstring with one sentence that says what the DAG does.",
)
def first_line(look: Look) -> Iterator[Finding]:
    """The page of a hand-written DAG begins with one sentence on a line of its own."""
    for dag in look.dags.values():
        page = _page(dag)
        if page and look.is_own(dag):
            first, _, rest = page.partition("\n")
            if first.startswith("#") or not first.rstrip().endswith((".", ":")) or (rest and not rest.startswith("\n")):
                yield of_dag(dag, f"its page begins with {first[:60]!r}, which is no sentence on a line of its own")
