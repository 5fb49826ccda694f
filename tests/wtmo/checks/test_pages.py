"""``docs/checks.md`` is what the rules say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wtmo.checks import pages
from wtmo.checks.run import rules

if TYPE_CHECKING:
    from pathlib import Path


def test_the_page_is_up_to_date() -> None:
    assert pages.PAGE.read_text() == pages.page(), "docs/checks.md is not what the rules say: make docs"


def test_every_rule_is_told() -> None:
    text = pages.page()
    for code, rule in rules().items():
        assert f"\n### {code}\n" in text
        assert f"- Why: {rule.reason}\n- What to type: {rule.fix}\n" in text
        assert pages.family(code) in pages.FAMILIES


def test_it_is_written_when_it_changed(tmp_path: Path) -> None:
    page = tmp_path / "checks.md"
    assert pages.write(page) == (page, True)
    assert pages.write(page) == (page, False)
    page.write_text("other")
    assert pages.write(page) == (page, True)
    assert page.read_text() == pages.page()
