"""What tests of imports share: a git repository to import from, and tools that need neither Airflow nor a parser."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from utils.config import environment
from wtmo.imports.plan import Change, Problem
from wtmo.imports.run import Tools
from wtmo.imports.sandbox import Candidate, Loaded, Refused
from wtmo.imports.store import Store
from wtmo.imports.translating import Translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

DAY = 86_400
# A Monday in 2026, so that nothing depends on the day of the test.
START = 1_780_300_800


def dag(name: str, *more: str, schedule: str = '"@daily"') -> str:
    """A file that the fakes below pass: it declares one DAG."""
    return "".join([f'with DAG("{name}", schedule_interval={schedule}) as dag:\n    pass\n', *more])


class Repository:
    """A git repository that a test writes commits to, a day apart unless told otherwise."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = START
        self.git("init", "--quiet", "--initial-branch=main", str(path), at=None)

    def git(self, *arguments: str, at: Path | bool | None = True) -> str:
        own = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        for who in ("AUTHOR", "COMMITTER"):
            own |= {
                f"GIT_{who}_NAME": "Somebody",
                f"GIT_{who}_EMAIL": "somebody@example.com",
                f"GIT_{who}_DATE": f"{self.now} +0000",
            }
        place = ["-C", str(self.path)] if at else []
        done = subprocess.run(
            ["git", *place, *arguments], env=environment() | own, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: dict[str, str | bytes | None], subject: str = "Auto-push", *, days: float = 1) -> str:
        """Write files (None: remove), below ``dags/``; the commit's id."""
        self.now += int(days * DAY)
        for name, content in files.items():
            path = self.path / "dags" / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")


@dataclass
class Work:
    """What the fakes were asked to do."""

    translated: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    starts: int = 0


def fake_translate(files: Iterable[tuple[str, bytes]], work: Work) -> Iterator[Translated]:
    """Rename one keyword; refuse each line that holds ``UNKNOWN``."""
    for name, source in files:
        work.translated.append(name)
        lines = source.decode(errors="replace").splitlines()
        bad = [number for number, line in enumerate(lines, start=1) if "UNKNOWN" in line]
        if bad:
            yield Translated(name, b"", (), tuple(Problem("a word that is not known", line) for line in bad))
            continue
        changes = [
            Change("schedule", number, "renamed")
            for number, line in enumerate(lines, start=1)
            if "schedule_interval" in line
        ]
        yield Translated(name, source.replace(b"schedule_interval", b"schedule"), tuple(changes), ())


class FakeLoader:
    """Refuses files that hold ``RAISES``; the DAGs of the others are those that they spell ``DAG("<id>"``."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __enter__(self) -> FakeLoader:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def load(self, candidates: Sequence[Candidate]) -> Iterator[Loaded | Refused]:
        self._work.starts += bool(candidates)
        for candidate in candidates:
            self._work.loaded.append(candidate.name)
            text = candidate.text.decode()
            if "RAISES" in text:
                line = text[: text.index("RAISES")].count("\n") + 1
                yield Refused(candidate.name, line, "it raises")
            else:
                ids = tuple(sorted(re.findall(r'DAG\(\s*"(\w+)"', text)))
                yield Loaded(candidate.name, ids, (), 0.1, 1000)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def tools(tmp_path: Path, work: Work) -> Tools:
    """Fakes, one hand-written DAG ``by_hand``, and a clock that stands 30 days after the repository's first commit."""
    dags = tmp_path / "hand_written"
    dags.mkdir()
    (dags / "by_hand.py").write_text(dag("by_hand"))
    return Tools(
        loader=lambda: FakeLoader(work),
        translate=lambda files: fake_translate(files, work),
        dags=dags,
        fingerprint=lambda: "f1",
        now=lambda: START + 30.0 * DAY,
    )


@pytest.fixture
def at() -> Callable[[Tools, float], Tools]:
    """The same tools, days after the repository's first commit."""
    return lambda tools, days: replace(tools, now=lambda: START + days * DAY)
