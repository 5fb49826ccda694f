"""The pages for people: links lead somewhere, and the commands they name exist."""

from __future__ import annotations

import re
import subprocess

import pytest

from utils.config import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("resources/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)")
MAKE = re.compile(r"`make ([a-z-]+)|^ +make ([a-z-]+)", re.MULTILINE)
WTMO = re.compile(r"\bwtmo ([a-z]+)\b(?=[^`\n]*`)")


def test_there_are_pages() -> None:
    assert {page.name for page in PAGES} >= {
        "README.md",
        "CONTRIBUTING.md",
        "AGENTS.md",
        "local-platform.md",
        "docker.md",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: object) -> None:
    path = ROOT / str(page)
    for target in LINK.findall(path.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_is_named_exists(page: object) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for match in MAKE.finditer((ROOT / str(page)).read_text()):
        name = match[1] or match[2]
        assert name in targets, f"{page} names `make {name}`, which the Makefile has not"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_wtmo_command_that_is_named_exists(page: object) -> None:
    from wtmo.cli import app

    commands = {c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands}
    for name in WTMO.findall((ROOT / str(page)).read_text()):
        assert name in commands, f"{page} names `wtmo {name}`, which the command line has not"


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    for target in phony[1].split():
        assert f"make {target} " in listed, f"`make help` does not tell of {target}"
