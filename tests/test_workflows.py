"""What GitHub runs: only what is pinned, with no right that it doesn't need, and the same make targets as people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from utils.config import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = ROOT / ".github" / "workflows"
PAGES = sorted(FOLDER.glob("*.y*ml"))
USES = re.compile(r"^\s*-?\s*uses:\s*(\S+)(.*)$", re.MULTILINE)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
TARGET = re.compile(r"^\s*make ((?:[a-z-]+ ?)+)", re.MULTILINE)
MAY_WRITE = {"diff-comment.yml": {"pull-requests"}}


def jobs(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["jobs"]
    return found


def steps(text: str) -> list[dict[str, Any]]:
    return [step for job in jobs(text).values() for step in job["steps"]]


def pinned(name: str, text: str) -> Iterator[str]:
    for uses, rest in USES.findall(text):
        if not PINNED.fullmatch(uses):
            yield f"{name} uses {uses}: pin it by its full commit hash, owner/name@<40 hex digits> # v1.2.3"
        elif not re.search(r"# v\d+\.\d+\.\d+$", rest):
            yield f"{name} uses {uses}: tell the version of the hash behind it, # v1.2.3"


def one_hash_an_action(_: str, text: str) -> Iterator[str]:
    hashes: dict[str, set[str]] = {}
    for page in [*(page.read_text() for page in PAGES), text]:
        for uses, _rest in USES.findall(page):
            action, _at, commit = uses.partition("@")
            hashes.setdefault(action, set()).add(commit)
    yield from (f"{action} is pinned to several commits: {sorted(of)}" for action, of in hashes.items() if len(of) > 1)


def targets(name: str, text: str) -> Iterator[str]:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for step in steps(text):
        for line in TARGET.findall(step.get("run", "")):
            yield from (
                f"{name} runs `make {each}`, which the Makefile has not" for each in line.split() if each not in known
            )


def rights(name: str, text: str) -> Iterator[str]:
    told = yaml.safe_load(text)
    if told.get("permissions") != {}:
        yield f"{name} gives rights to all jobs: write `permissions: {{}}` at the top, and what a job needs at the job"
    for job, of in jobs(text).items():
        if "permissions" not in of or "timeout-minutes" not in of:
            yield f"{name}, job {job}: give it permissions and timeout-minutes"
        written = {scope for scope, right in of.get("permissions", {}).items() if right == "write"}
        if written - MAY_WRITE.get(name, set()):
            yield f"{name}, job {job} may write {sorted(written)}"


def strangers(name: str, text: str) -> Iterator[str]:
    """A stranger's code has no rights, and a stranger's words are no code."""
    on = yaml.safe_load(text)[True]  # YAML 1.1 reads `on` as true
    if "pull_request_target" in on:
        yield f"{name} runs on pull_request_target: it would run a stranger's code with this repository's rights"
    checks_out = any("checkout" in step.get("uses", "") for step in steps(text))
    if "workflow_run" in on and checks_out:
        yield f"{name} runs on workflow_run and checks something out"
    for step in steps(text):
        if "${{" in step.get("run", ""):
            yield f'{name}: a value in the shell\'s text ({step["run"].strip()[:60]}): give it by env and write "$NAME"'
        if "checkout" in step.get("uses", "") and step.get("with", {}).get("persist-credentials") is not False:
            yield f"{name}: give checkout `persist-credentials: false`"


RULES: list[Callable[[str, str], Iterator[str]]] = [pinned, one_hash_an_action, targets, rights, strangers]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_workflow_keeps_the_rule(rule: Callable[[str, str], Iterator[str]]) -> None:
    found = [violation for page in PAGES for violation in rule(page.name, page.read_text())]
    assert not found, "\n".join(found)


def test_there_are_checks_a_diff_an_image_and_docs() -> None:
    assert {page.name for page in PAGES} >= {"checks.yml", "diff.yml", "diff-comment.yml", "image.yml", "docs.yml"}
    run = " ".join(step.get("run", "") for page in PAGES for step in steps(page.read_text()))
    for command in ("make lint", "make check", "make diff", "make docs", "make image", ".ci/run"):
        assert command in run, f"nothing runs {command}"


GOOD = (FOLDER / "checks.yml").read_text()
CHECKOUT = next(uses for uses, _ in USES.findall(GOOD))


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        (pinned, CHECKOUT, "actions/checkout@v7"),
        (pinned, CHECKOUT, "actions/checkout@main"),
        (pinned, CHECKOUT, CHECKOUT[:-1]),
        (pinned, " # v7.0.1", ""),
        (one_hash_an_action, CHECKOUT, f"actions/checkout@{'0' * 40}"),
        (targets, "make lint", "make lnt"),
        (targets, "make lint", "make setup lnt"),
        (rights, "permissions: {}", "permissions: write-all"),
        (rights, "permissions: {}", ""),
        (rights, "contents: read", "contents: write"),
        (rights, "    timeout-minutes: 20\n", ""),
        (strangers, "  pull_request:\n", "  pull_request_target:\n"),
        (strangers, "  pull_request:\n", "  workflow_run:\n"),
        (strangers, "make lint", "make lint ARGS=${{ github.head_ref }}"),
        (strangers, "persist-credentials: false", "persist-credentials: true"),
    ],
)  # fmt: skip
def test_a_violation_is_found(rule: Callable[[str, str], Iterator[str]], old: str, new: str) -> None:
    assert old in GOOD
    assert not list(rule("checks.yml", GOOD))
    assert list(rule("checks.yml", GOOD.replace(old, new)))
