"""How long a day waits for the DAG processor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from wtmo.errors import WtmoError
from wtmo.local import day

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED = 1_000.0


class Processor:
    """A DAG processor on a clock of its own: it reads a DAG every ``pace`` seconds, in this order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: list[str], pace: float) -> None:
        self.now = 0.0
        self.names, self.pace = names, pace
        monkeypatch.setattr(day, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))
        monkeypatch.setattr(day, "all_dags", self.all_dags)
        monkeypatch.setattr(day.api, "call", lambda *_: SimpleNamespace(import_errors=[]))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def all_dags(self, _: Any) -> Iterator[Any]:
        for number, name in enumerate(self.names):
            parsed = STARTED + 1 if self.now >= (number + 1) * self.pace else STARTED - 1
            stamp = SimpleNamespace(timestamp=lambda parsed=parsed: parsed)
            yield SimpleNamespace(dag_id=name, fileloc="/nowhere", last_parsed_time=stamp, has_import_errors=False)


def test_the_processor_is_waited_for_as_long_as_it_reads_more(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = Processor(monkeypatch, ["a", "b", "c", "wanted"], pace=150)
    day.await_dags(object(), ("wanted",), since=STARTED)
    assert 600 <= processor.now < 602


def test_a_processor_that_reads_nothing_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = Processor(monkeypatch, ["a", "wanted"], pace=200)
    with pytest.raises(WtmoError, match="did not find wanted, and has read nothing more for 180 s"):
        day.await_dags(object(), ("wanted",), since=STARTED)
    assert 180 <= processor.now < 182
