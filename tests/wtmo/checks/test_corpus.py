"""Every seeded defect is found by the rule that is meant for it and by no other, and what is sound is not blamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wtmo.checks import corpus_core, corpus_rules
from tests.wtmo.checks.corpus import CHECKOUT, Case, Repository, load
from wtmo.checks import run
from wtmo.checks.report import subject

# The first test waits for all repositories to be loaded.
pytestmark = pytest.mark.timeout(900)

CASES = [Case("the good repository", {}), *corpus_core.CASES, *corpus_rules.CASES]
DEFECTS = [case for case in CASES if case.expect]
INNOCENTS = [case for case in CASES if not case.expect]
# What is found by other tests: the time that loading takes depends on the machine, and a limit takes as long as it is.
NOT_SEEDED = {"LOD007", "LOD010", "CHK001", "SIL001", "SIL002", "SIL003", "SIL004", "SIL005"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Repository]:
    return load(CASES, tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where answers about queries are kept: most cases have the same queries."""
    return tmp_path_factory.mktemp("answers")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_intended_rule_finds_it_and_no_other(loaded: dict[str, Repository], answers: Path, case: Case) -> None:
    of = loaded[case.name]
    result = run.check(of.inventory, roots=of.roots, checkout=CHECKOUT, cache=answers, silences=())
    told = [f"{found.code} {subject(found)} ({found.file}:{found.line}): {found.message}" for found in result.findings]
    assert {found.code for found in result.findings} == set(case.expect), "\n".join(told) or "nothing was found"


def test_the_corpus_is_large_enough() -> None:
    assert len(DEFECTS) >= 80
    assert len(INNOCENTS) >= 40


def test_every_rule_has_a_defect() -> None:
    seeded = {code for case in DEFECTS for code in case.expect}
    assert seeded | NOT_SEEDED == set(run.rules())


def test_the_base_is_in_the_repository() -> None:
    assert len(list((Path(__file__).parent / "base").rglob("*.py"))) >= 7
