"""What a DAG file asks for, makes and costs while it is parsed. Runs in the sandbox only."""

from __future__ import annotations

import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from wtmo.imports import isolation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType


class TouchedError(RuntimeError):
    """Something that a DAG file must not ask for while it is parsed."""


class Watch:
    """Cuts a file off from database, Variables, Connections and network while it is parsed, and notes what it asked for: also
    where the file catches the error.

    :param path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.touched: tuple[str, int | None] | None = None
        self.lines: dict[int, int] = {}
        """Line in which each DAG and each task was made, by the object's :func:`id`."""
        self._on = False

    def __enter__(self) -> Watch:
        from airflow import settings
        from airflow.models.connection import Connection
        from airflow.models.variable import Variable
        from airflow.sdk.execution_time import context
        from airflow.utils import session

        refuse = self._refuse
        for name in ("_get_variable", "_set_variable", "_delete_variable", "_get_variable_keys"):
            setattr(context, name, refuse("Variable"))
        for name in ("_get_connection", "_async_get_connection"):
            setattr(context, name, refuse("Connection"))
        for model, names in (
            (Variable, ("get_variable_from_secrets", "set", "update", "delete")),
            (Connection, ("get_connection_from_secrets",)),
        ):
            for name in names:
                setattr(model, name, refuse(model.__name__))
        session.create_session = refuse("the metadata database")
        for name in ("Session", "get_session", "NonScopedSession", "AsyncSession"):
            setattr(settings, name, refuse("the metadata database"))
        isolation.on_denial = self._denied
        sys.addaudithook(self._hear)
        self._note_lines()
        self._on = True
        return self

    def __exit__(self, *error: object) -> None:
        self._on = False

    def line(self) -> int | None:
        """The line of the file that runs, of its innermost frame."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == self._path:
                return frame.f_lineno
            frame = frame.f_back
        return None

    def _refuse(self, what: str) -> Callable[..., Any]:
        def refused(*arguments: Any, **_: Any) -> Any:
            name = next((repr(each) for each in arguments if isinstance(each, str)), "")
            self._touch(f"{what} {name}".strip())
            raise TouchedError(f"a DAG file can't use {what} {name}".strip() + " while it is parsed")

        return refused

    def _touch(self, what: str) -> None:
        line = self.line()
        if self._on and self.touched is None and line is not None:
            self.touched = what, line

    def _denied(self, event: str) -> None:
        """The sandbox refuses a call: of the file itself, not of a library that looks what there is when it is imported."""
        if not self._imports():
            kind = "the network" if event.startswith("socket.") else f"{event}, an act outside its process,"
            self._touch(kind)

    def _hear(self, event: str, _: tuple[Any, ...]) -> None:
        if self._on and event == "socket.__new__":
            self._denied(event)

    def _imports(self) -> bool:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self._path:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return True
            frame = frame.f_back
        return False

    def _note_lines(self) -> None:
        add, make, lines, line = DAG.add_task, DAG.__init__, self.lines, self.line

        def add_task(dag: DAG, task: Any) -> None:
            if (number := line()) is not None:
                lines[id(task)] = number
            add(dag, task)

        def init(dag: DAG, *arguments: Any, **keywords: Any) -> None:
            if (number := line()) is not None:
                lines[id(dag)] = number
            make(dag, *arguments, **keywords)

        for name, patched in (("add_task", add_task), ("__init__", init)):
            setattr(DAG, name, patched)


class Clock:
    """CPU time and imports of a stretch of code."""

    def __init__(self) -> None:
        self._began = time.process_time()
        self._modules = set(sys.modules)

    @cached_property
    def seconds(self) -> float:
        """Until this is first asked for."""
        return round(time.process_time() - self._began, 4)

    @cached_property
    def imports(self) -> list[str]:
        """Top-level names of the modules that came, until this is first asked for. The file's own is none."""
        new = {name.partition(".")[0] for name in set(sys.modules) - self._modules}
        return sorted(name for name in new if not name.startswith("unusual_prefix_"))
