"""What BigQuery would refuse of many queries, told without running them, and only where it is sure.

The queries are those of a checkout that stays as it is meanwhile: what it describes of a table, view or function is made once, however
many queries name it. Nothing is told of a query

* that names what is not described, or whose description is wrong: what is deployed may be another one;
* that is refused for one order of a table's columns and not for another: ``schema.yaml`` says what columns there are, a deployed table has
  them in the order in which they were added;
* that needs what the local engine lacks: a function, a kind of statement, a deeper nesting.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from .definitions import Definitions
from .errors import BigQueryError
from .googlesql import THREAD_STACK, EvaluatorCrash, EvaluatorPool
from .query import QueryRun, TableLocks
from .storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence

    from .definitions import Definition
    from .storage import Resource, Table, TableRef
    from .values import Field

    Order = Callable[[Sequence[Field]], Iterable[Field]]

T = TypeVar("T")


def _by_name(fields: Sequence[Field]) -> Iterable[Field]:
    return sorted(fields, key=lambda field: str(field["name"]))


ENGINES = 2
"""Evaluators at work at once: each takes a core and 30 MB."""

_ORDERS: list[tuple[Order, Order]] = [
    (tuple, tuple),
    (_by_name, tuple),
    (reversed, tuple),
    (tuple, _by_name),
    (_by_name, _by_name),
]
"""Of the columns of tables, and of the fields of their structs: as ``schema.yaml`` has them, and others."""
_SHORTEST = 4
"""Letters of a function's name below which one letter makes another word of it."""
_UNSURE = re.compile(
    r"not supported by the local BigQuery"
    # A filter under another name does as well.
    r"|can be used for partition elimination"
    # The body of a function that is described, or of one by which the local engine says it in other words.
    r"|Templated_SQL_Function:(?:__|\S*\.)"
)
_STRUCT = re.compile(r"(?<!does not exist in )(?<!on a value with type )STRUCT<")
"""A struct of another type than it should be. That it lacks a field is no matter of its order."""
_FUNCTION = re.compile(r"Function not found: (?P<written>[^\s;]+)(?:; Did you mean (?P<known>[^\s?]+)\?)?")
_HINT = re.compile(r"; Did you mean [^?]*\?")


@dataclass(frozen=True)
class Answer:
    """What came of a query.

    :param refused: BigQuery's words. None: it is sound, or nothing can be told.
    :param names: the tables and functions that were looked for in the checkout, found or not.
    :param lasting: False where the engine failed: the next time it may tell something else.
    """

    refused: str | None
    names: frozenset[TableRef] = frozenset()
    lasting: bool = True


class Refusals:
    """Engines that are asked about many queries. To be used as a context.

    :param checkout: the folder that holds ``sql/``. None: nothing is described.
    """

    def __init__(self, checkout: Path | None) -> None:
        """Start nothing yet."""
        self._checkout = checkout
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Make databases without tables, and threads."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="wtmo-refusals-")))
        self._engines, self._locks = EvaluatorPool(ENGINES), TableLocks()
        self._described = [_Described(self._checkout or folder, *order) for order in _ORDERS]
        self._storages = [Storage(folder / f"{n}.db", described) for n, described in enumerate(self._described)]
        for storage in self._storages:
            self._stack.callback(storage.close)
        before = threading.stack_size(THREAD_STACK)
        self._stack.callback(threading.stack_size, before)
        self._threads = ThreadPoolExecutor(ENGINES)
        self._stack.callback(self._threads.shutdown, cancel_futures=True)
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for what is under way, and drop the rest."""
        self._stack.close()

    def ask(self, jobs: Sequence[tuple[Resource, str]]) -> Iterator[tuple[int, Answer]]:
        """Ask about queries.

        :param jobs: ``configuration.query`` and the project of each.
        :return: the number of each job and what came of it, as they come.
        """
        asked = {self._threads.submit(self._ask, *job): number for number, job in enumerate(jobs)}
        for done in as_completed(asked):
            yield asked[done], done.result()

    def _ask(self, configuration: Resource, project: str) -> Answer:
        names: set[TableRef] = set()
        said: list[str] = []
        for described, storage in zip(self._described, self._storages, strict=True):
            with described.asked_for() as of_order:
                error = self._error(configuration, project, storage, described)
            names |= of_order
            if error is None or not _is_sure(error):
                return Answer(None, frozenset(names), lasting=not _crashed(error))
            said.append(" ".join(error.message.split()))
        same = len({_HINT.sub("", words).partition("STRUCT<")[0] for words in said}) == 1
        return Answer(said[0] if same else None, frozenset(names))

    def _error(
        self, configuration: Resource, project: str, storage: Storage, described: _Described
    ) -> BigQueryError | None:
        asked = (storage, self._engines, self._locks, configuration, project)
        try:
            QueryRun(*asked, dry_run=True, once=described.once).analyze()
        except BigQueryError as error:
            return error
        return None


class _Unknown(BigQueryError):
    """What a query names can't be made here."""


class _Described(Definitions):
    """What a checkout describes, each made once; and who asked for what.

    :param of_columns: their order in tables. :param of_fields: their order in structs.
    """

    def __init__(self, root: Path, of_columns: Order, of_fields: Order) -> None:
        """Read nothing yet."""
        super().__init__(root)
        self._of_columns = of_columns
        self._of_fields = of_fields
        self._made: dict[Hashable, tuple[Any, frozenset[TableRef]]] = {}
        self._of_thread = threading.local()

    @contextlib.contextmanager
    def asked_for(self) -> Generator[set[TableRef], None, None]:
        """The names that this thread asks for inside."""
        before: set[TableRef] = getattr(self._of_thread, "names", set())
        names: set[TableRef] = set()
        self._of_thread.names = names
        try:
            yield names
        finally:
            before |= names
            self._of_thread.names = before

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """See :class:`wtmo.local.bigquery.catalog.Once`."""
        if key not in self._made:
            made: Any
            with self.asked_for() as names:
                try:
                    made = make()
                except BigQueryError as error:
                    if _crashed(error):
                        raise
                    made = error
            self._made[key] = made, frozenset(names)
        made, of_key = self._made[key]
        self._of_thread.names |= of_key
        if isinstance(made, BigQueryError):
            raise _Unknown(made.reason, made.message, made.location)
        value: T = made
        return value

    def view(self, ref: TableRef) -> Definition | None:
        """See :class:`Definitions`."""
        self._of_thread.names.add(ref)
        return super().view(ref)

    def function(self, ref: TableRef) -> Definition | None:
        """See :class:`Definitions`."""
        self._of_thread.names.add(ref)
        return super().function(ref)

    def table(self, ref: TableRef) -> Table | None:
        """See :class:`Definitions`."""
        self._of_thread.names.add(ref)
        return self.once(("table", ref), lambda: self._table(ref))

    def _table(self, ref: TableRef) -> Table | None:
        table = super().table(ref)
        if table is None:
            return None
        fields = list(self._of_columns([self._in_order(field) for field in table.fields]))
        return replace(table, resource={**table.resource, "schema": {"fields": fields}})

    def _in_order(self, field: Field) -> Field:
        inner = [self._in_order(each) for each in field.get("fields") or ()]
        return {**field, "fields": list(self._of_fields(inner))} if inner else field


def _crashed(error: BaseException | None) -> bool:
    """Whether an error comes of a crash of the evaluator."""
    return error is not None and (isinstance(error, EvaluatorCrash) or _crashed(error.__cause__))


def _is_sure(error: BigQueryError) -> bool:
    """Whether BigQuery would refuse the query too."""
    if isinstance(error, _Unknown) or error.reason not in {"invalid", "invalidQuery"}:
        return False
    if _UNSURE.search(error.message) or _STRUCT.search(error.message):
        return False
    function = _FUNCTION.search(error.message)
    return function is None or _is_misspelt(function["written"], function["known"] or "")


def _is_misspelt(written: str, known: str) -> bool:
    """Whether a function's name is a known one's but for one letter or two that changed places.

    BigQuery has functions that the local engine has not, and other repositories have functions: what is only not known may be right.

    >>> _is_misspelt("SUMM", "sum"), _is_misspelt("SEARCH", "sech")
    (True, False)
    >>> _is_misspelt("DAET_DIFF", "date_diff"), _is_misspelt("MYFUNCTION", "")
    (True, False)
    """
    left, right = written.lower(), known.lower()
    return len(left) >= _SHORTEST and any(
        left[:at] == right[:at]
        and (
            left[at + 1 :] == right[at + 1 :]
            or left[at + 1 :] == right[at:]
            or left[at:] == right[at + 1 :]
            or (left[at : at + 2] == right[at : at + 2][::-1] and left[at + 2 :] == right[at + 2 :])
        )
        for at in range(len(left) + 1)
    )
