"""What a DAG is, as plain data: what the graph, checks, diff and render work on. No Airflow is imported here.

A file's code runs in the sandbox only (:mod:`wtmo.graph.describe` there, :mod:`wtmo.graph.inventory` here); what comes out is this.
Everything that depends on a date was worked out for one run of the DAG: the first scheduled one whose logical date is on or after
:data:`Inventory.date`, or, where a DAG has no schedule, one that somebody starts at that date.

JSON values: durations are seconds, times ISO 8601 in UTC, an empty list or mapping stays empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import UnionType
from typing import TYPE_CHECKING, Any, Self, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json = Any
"""What ``json.loads`` gives."""

MOST_FIRES = 9000
"""Runs of a DAG in a year that are told: an hourly DAG's all."""


@dataclass(frozen=True)
class _Data:
    """A dataclass that is read from JSON by its own field types."""

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """The opposite of ``dataclasses.asdict`` after a trip through JSON.

        :raises TypeError: a field without default is missing, or a value is not of its field's type.
        """
        readers = _readers(cls)
        return cls(**{name: readers[name](value) for name, value in data.items() if name in readers})

    def to_json(self) -> dict[str, Json]:
        """As plain data."""
        return {name: _plain(getattr(self, name)) for name in _readers(type(self))}


def _plain(value: Any) -> Json:
    if isinstance(value, _Data):
        return value.to_json()
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


_known: dict[str, dict[str, Callable[[Json], Any]]] = {}


def _readers(cls: type[_Data]) -> dict[str, Callable[[Json], Any]]:
    if cls.__name__ not in _known:
        hints = get_type_hints(cls)
        _known[cls.__name__] = {each.name: _reader(hints[each.name]) for each in fields(cls)}
    return _known[cls.__name__]


def _reader(kind: Any) -> Callable[[Json], Any]:
    """What reads a value of a field's type."""
    if kind is Any:
        return lambda value: value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        inner = _reader(next(each for each in arguments if each is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            each_of = _reader(arguments[0])
            return lambda value: tuple([each_of(inner) for inner in _of(list, tuple)(value)])
        of = [_reader(each) for each in arguments]
        return lambda value: tuple(read(inner) for read, inner in zip(of, _of(list, tuple)(value), strict=True))
    if isinstance(kind, type) and issubclass(kind, _Data):
        return lambda value: kind.from_json(_of(dict)(value))
    if kind is float:
        return _of(float, int)
    return _of(origin or kind)


def _of(*kinds: type) -> Callable[[Json], Any]:
    def read(value: Json) -> Any:
        if isinstance(value, kinds):
            return value
        raise TypeError(f"{value!r:.80} is no {kinds[0].__name__}")

    return read


@dataclass(frozen=True)
class Run(_Data):
    """The run for which templates were rendered.

    :param logical: logical date; for a run that somebody starts, the date given.
    :param start: of the data interval.
    :param end: of the data interval.
    :param started: by a person: the DAG has no schedule.
    """

    logical: str
    start: str
    end: str
    started: bool = False


@dataclass(frozen=True)
class Template(_Data):
    """A text of a task with Jinja in it.

    :param field: where: an attribute and a path in it, like ``arguments[2]`` or ``env_vars.DATE``.
    :param text: as written.
    :param rendered: for the run; None where it can't be.
    :param error: why it can't be: Jinja's or Python's words, with the name that the context does not have.
    :param line: of the text in which the error is, from 1.
    :param names: what it uses of the context, each the longest path that can be told, like ``params.start`` or ``ds``. Sorted.
    """

    field: str
    text: str
    rendered: str | None
    error: str | None = None
    line: int | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wait(_Data):
    """What a sensor waits for, or a marker points to, in another DAG.

    :param of_dag: its id, rendered.
    :param of_tasks: ids of tasks. Empty: the whole run, or the group.
    :param of_group: a task group's id.
    :param how: ``same`` (the same logical date), ``delta``, ``function``, ``template`` (of the date).
    :param delta: own logical date less the one waited for, in seconds. Where ``how`` is ``function`` or ``template``: if it is the same
        for all runs of a year. None: see ``dates``.
    :param dates: own logical date and those waited for, over the runs of a year, oldest first; of a DAG that runs once its one run.
        Empty where ``delta`` tells it.
    :param error: why the dates can't be told.
    """

    of_dag: str
    of_tasks: tuple[str, ...] = ()
    of_group: str | None = None
    how: str = "same"
    delta: float | None = 0.0
    dates: tuple[tuple[str, tuple[str, ...]], ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class PodSecret(_Data):
    """A value from a Kubernetes secret.

    :param secret: the secret's name.
    :param key: in it. None: all of them.
    :param target: name of the environment variable, or path of the mount.
    :param kind: ``env`` or ``volume``.
    """

    secret: str
    key: str | None
    target: str | None
    kind: str


@dataclass(frozen=True)
class Query(_Data):
    """A BigQuery job of a query task, native or in a pod of the bigquery-etl image.

    :param engine: ``native`` or ``pod``.
    :param file: the query file's path in a bigquery-etl checkout, where the task names one.
    :param sql: after templating, where the file is at hand, or what the task itself holds.
    :param destination: ``project.dataset.table`` with its partition, where one is told.
    :param parameters: ``name:type:value``, in their order.
    :param project: that pays.
    :param dataset: default dataset, ``project.dataset``.
    :param error: why the SQL can't be told.
    """

    engine: str
    file: str | None = None
    sql: str | None = None
    destination: str | None = None
    parameters: tuple[str, ...] = ()
    project: str | None = None
    dataset: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Task(_Data):
    """One task.

    :param kind: the operator's class name.
    :param classes: ``module.Class`` of the operator and all its bases, nearest first, ``object`` left out.
    :param line: of the file in which the task is made (the innermost frame of that file), where it can be told.
    :param group: the task group it is in.
    :param upstream: ids of the tasks before it. Sorted.
    :param mapped: whether it is expanded at run time.
    :param attributes: all that it was given and has by default (:func:`wtmo.imports.shape.attributes`), templates as written.
    :param templates: every text with Jinja in it, of all template fields.
    :param rendered: every template field after rendering, by name. None: empty, or it can't be rendered.
    :param pod: the manifest as it goes to Kubernetes, with rendered values, without what differs from run to run for no reason
        (suffix of its name). None: no pod. Of a pod that is expanded, that of the first instance.
    :param pod_error: why the manifest can't be built.
    :param unknown: arguments of a pod of which only a run has the values: what they make of the manifest is not in ``pod``, which is None
        where it can't be without them. ``expand_kwargs``: any argument.
    :param instances: of a pod that is expanded, those that differ from the first, as tasks of their own; all else is of the first.
    :param image: by which name of the registry, and the reference itself: ``(name or None, reference)``.
    :param secrets: of the pod.
    :param waits: for a sensor or a marker on another DAG.
    :param marker: whether ``waits`` is a marker's.
    :param starts: the DAG of which it starts a run.
    :param query: for a query task.
    :param connections: ids of Airflow connections it uses. Sorted.
    :param variables: names of Airflow variables it uses, in templates or by a declared getter. Sorted.
    :param calls: for a task that calls Python: ``module.function``.
    """

    task_id: str
    kind: str
    classes: tuple[str, ...] = ()
    line: int | None = None
    group: str | None = None
    upstream: tuple[str, ...] = ()
    mapped: bool = False
    attributes: dict[str, Json] = field(default_factory=dict)
    templates: tuple[Template, ...] = ()
    rendered: dict[str, Json] = field(default_factory=dict)
    pod: dict[str, Json] | None = None
    pod_error: str | None = None
    unknown: tuple[str, ...] = ()
    instances: tuple[Task, ...] = ()
    image: tuple[str | None, str] | None = None
    secrets: tuple[PodSecret, ...] = ()
    waits: Wait | None = None
    marker: bool = False
    starts: str | None = None
    query: Query | None = None
    connections: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    calls: str | None = None

    def is_a(self, name: str) -> bool:
        """Whether it is of a class of this name, or of one made from it.

        >>> Task("a", "GKEPodOperator", classes=("operators.gcp.GKEPodOperator", "k8s.KubernetesPodOperator")).is_a(
        ...     "KubernetesPodOperator"
        ... )
        True
        """
        return any(each.rpartition(".")[2] == name for each in self.classes)


@dataclass(frozen=True)
class Dag(_Data):
    """One DAG.

    :param bundle: the bundle that serves it: ``telemetry-airflow`` for hand-written ones.
    :param file: its path below the bundle's root.
    :param line: of the file in which the DAG is made.
    :param schedule: timetable's ``kind``, ``expression`` or ``delta``, ``timezone`` (:func:`wtmo.imports.shape.schedule`); ``assets``,
        each with ``name`` and ``uri``, where it waits for some.
    :param fires: ``(logical date, start, end of the data interval)`` of every run over a year from the inventory's date, oldest first, at
        most :data:`MOST_FIRES`. Empty: no schedule.
    :param run: the run of which the dates in templates are.
    :param start_date: the earliest of the DAG's and its tasks'.
    :param end_date: after which there are no runs.
    :param attributes: all attributes of the DAG (:data:`wtmo.imports.shape.OF_DAGS`).
    :param default_args: as given, with keys that Airflow does not know.
    :param unknown_default_args: those of the keys that no task takes.
    :param params: ``schema`` (JSON schema), ``description`` and ``value`` (the default; left out where there is none) of each user
        parameter, by name.
    :param groups: parent of each task group.
    :param deadline: whether it has a deadline alert.
    """

    dag_id: str
    bundle: str
    file: str
    line: int | None = None
    schedule: dict[str, Json] = field(default_factory=dict)
    fires: tuple[tuple[str, str, str], ...] = ()
    run: Run | None = None
    start_date: str | None = None
    end_date: str | None = None
    tags: tuple[str, ...] = ()
    attributes: dict[str, Json] = field(default_factory=dict)
    default_args: dict[str, Json] = field(default_factory=dict)
    unknown_default_args: tuple[str, ...] = ()
    params: dict[str, Json] = field(default_factory=dict)
    groups: dict[str, str | None] = field(default_factory=dict)
    deadline: bool = False
    tasks: tuple[Task, ...] = ()

    @property
    def by_id(self) -> dict[str, Task]:
        """Tasks by their ids."""
        return {task.task_id: task for task in self.tasks}


@dataclass(frozen=True)
class File(_Data):
    """What came of loading one file.

    :param bundle: that it belongs to.
    :param name: its path below the bundle's root.
    :param seconds: CPU time that loading it took, on top of what all files share.
    :param imports: modules that it imported and that were not loaded before, top-level names. Sorted.
    :param dags: of the file, sorted by id. Empty where it was refused.
    :param refused: why it was not loaded.
    :param refused_kind: what kind of refusal: ``syntax``, ``import``, ``cycle``, ``duplicate``, ``dynamic`` (differs from parse to parse),
        ``touched`` (network, database, Variable, Connection while it is parsed), ``late`` (time limit), ``memory``, ``serialize``, ``policy``,
        ``empty`` (no DAG in it), ``died`` or ``other``.
    :param line: of the refusal.
    :param warnings: lines that use what is deprecated, and Python's or Airflow's words.
    """

    bundle: str
    name: str
    seconds: float = 0.0
    imports: tuple[str, ...] = ()
    dags: tuple[Dag, ...] = ()
    refused: str | None = None
    refused_kind: str | None = None
    line: int | None = None
    warnings: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Inventory:
    """All DAGs of one or several bundles, as they were loaded.

    :param date: day for which dates were worked out.
    :param files: in the order of bundle and name.
    """

    date: str
    files: tuple[File, ...]

    @property
    def dags(self) -> dict[str, Dag]:
        """By id, sorted. Of two with one id the first stands; :attr:`twice` names such ids."""
        found: dict[str, Dag] = {}
        for file in self.files:
            for dag in file.dags:
                found.setdefault(dag.dag_id, dag)
        return dict(sorted(found.items()))

    @property
    def twice(self) -> dict[str, tuple[str, ...]]:
        """Ids that more than one file has, with ``bundle:file`` of each."""
        homes: dict[str, list[str]] = {}
        for file in self.files:
            for dag in file.dags:
                homes.setdefault(dag.dag_id, []).append(f"{file.bundle}:{file.name}")
        return {dag_id: tuple(places) for dag_id, places in sorted(homes.items()) if len(places) > 1}
