"""Writes a new DAG file, and its test where it has behaviour of its own. What it writes passes every check as it stands.

What kinds there are: :data:`KINDS`. The templates are in ``resources/new_dag/``. Nothing is written over.

DAG objects are needed here for their timetables: the time shift of a sensor is found between a DAG's and one of a schedule that no
DAG has yet, from the new DAG's first day on.
"""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
import tempfile
import textwrap
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from utils.commands import TABLE
from utils.config import ROOT, WAREHOUSE_PROJECT
from utils.images import IMAGES, Image, image
from utils.names import did_you_mean
from utils.teams import TEAMS
from wtmo.docs.catalogue import LAYERS
from wtmo.errors import WtmoError
from wtmo.graph.loading import load_dags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow.sdk import DAG
    from airflow.timetables.base import Timetable

    Ask = Callable[[str, str, Sequence[str]], str]
    """Question, default and choices (empty: any text) to an answer."""

KINDS = {
    "pod": "one pod",
    "sensors": "a pod that waits for a task of another DAG",
    "query": "a query of bigquery-etl and the checks of its table",
    "family": "one DAG for each line of a table, in one file",
    "manual": "a pod with typed parameters, started by hand",
    "dataproc": "a PySpark program on a Dataproc cluster of its own",
}
"""The kinds of jobs."""

TEMPLATES = ROOT / "resources" / "new_dag"
BY_HAND = "none"
_TIERS = ("1", "2", "3")
_LONGEST_NAME = 60
_LONGEST_SENTENCE = 110
_LONGEST_CLUSTER_NAME = 40
_WIDTH = 120
_GENERATED = ("bqetl_", "private_bqetl_")
_DEFAULT_IMAGE = "google-cloud-sdk-slim"
_WAITS_FOR = "copy_deduplicate.copy_deduplicate_all"
_MEMBERS = "desktop,android"
_DOCKER_ETL = "/docker-etl/"
_URGENCY = {
    "1": "at once",
    "2": "on the same day",
    "3": "on the next working day: it can wait for that",
}
_COMPARED_RUNS = 60
_COMPARED_DAYS = 200
_LONGEST_SHIFT = dt.timedelta(days=32)


@dataclass(frozen=True)
class Order:
    """The DAG that is wanted.

    :param name: its id, and the name of its file; for a family the start of the ids.
    :param layer: folder of ``dags/``.
    :param team: of :data:`utils.teams.TEAMS`.
    :param tier: ``1`` to ``3``.
    :param schedule: a cron expression or a preset. None: started by hand.
    :param kind: of :data:`KINDS`.
    :param start: its first day.
    :param about: what it does, a sentence. Default: what the kind does.
    :param image: name of the image of its pods. Default: one that has ``echo``.
    :param table: ``dataset.table`` that a query writes. Default: ``telemetry_derived.<name>_v1``.
    :param waits_for: ``dag.task`` that a pod waits for.
    :param members: what a family has a DAG for, each.
    """

    name: str
    layer: str
    team: str
    tier: str
    schedule: str | None
    kind: str
    start: dt.date
    about: str | None = None
    image: str | None = None
    table: str | None = None
    waits_for: str = ""
    members: tuple[str, ...] = ()


def order(given: Mapping[str, str | None], *, today: dt.date, ask: Ask | None = None) -> Order:
    """An order from what an author gave; what is missing is asked for, or has a default.

    :param given: by the names of :class:`Order`'s parameters, as text; ``members`` with commas, ``schedule`` ``none``.
    :param today: the default of ``start``.
    :param ask: asks the author. None: there is nobody to ask, and what has no default is an error.
    :raises WtmoError: something is missing, or is not what it should be.
    """
    answers = {key: value.strip() for key, value in given.items() if value and value.strip()}
    if ask is None:
        missing = [key for key in ("name", "layer", "team", "tier") if key not in answers]
        if missing:
            raise WtmoError(
                f"{', '.join(key.upper() for key in missing)} must be given where nobody can be asked",
                fix="make new-dag NAME=my_job LAYER=collection TEAM=data-engineering TIER=3 SCHEDULE='0 5 * * *' KIND=pod",
            )

    def get(key: str, question: str, default: str = "", choices: Sequence[str] = ()) -> str:
        if key not in answers and ask is not None:
            answers[key] = ask(question, default, choices).strip()
        value = answers.get(key) or default
        if choices and value not in choices:
            raise WtmoError(f"there is no {key} {value!r}", fix=did_you_mean(value, choices))
        return value

    name = checked_name(get("name", "Name of the DAG"))
    kind = get("kind", "Kind of job", "pod", tuple(KINDS))
    layer = get("layer", "Layer of the data stack", "", tuple(LAYERS))
    owner = get("team", "Team that owns it", "", tuple(TEAMS))
    tier = get("tier", "Impact tier (1: a failure is told at once)", "3", _TIERS)
    if kind == "manual":
        schedule = answers.get("schedule", BY_HAND)
        if schedule != BY_HAND:
            raise WtmoError(f"a DAG of kind manual has no schedule, not {schedule!r}", fix="leave SCHEDULE= out")
    else:
        schedule = get("schedule", "Schedule (cron in UTC, a preset, or none)", "@daily")
    image_name = "" if kind in {"query", "dataproc"} else get("image", "Image of utils/images.py", _DEFAULT_IMAGE)
    wanted = Order(
        name=name,
        layer=layer,
        team=owner,
        tier=tier,
        schedule=None if schedule == BY_HAND else checked_schedule(schedule),
        kind=kind,
        start=_date(answers.get("start"), today),
        image=_checked_image(image_name) if image_name else None,
        table=_checked_table(get("table", "Table that it writes", f"telemetry_derived.{name}_v1"))
        if kind == "query"
        else None,
        waits_for=get("waits_for", "Task that it waits for, dag.task", _WAITS_FOR) if kind == "sensors" else "",
        members=_checked_members(get("members", "One DAG for each of, with commas", _MEMBERS))
        if kind == "family"
        else (),
    )
    about = get("about", "What it does, one sentence", _about(wanted))
    return replace(wanted, about=checked_sentence(about))


def create(wanted: Order, dags: Mapping[str, DAG], root: Path = ROOT) -> list[Path]:
    """Write the DAG's file and, where it has one, its test. Returns their paths.

    :param dags: every DAG that there is, by id.
    :raises WtmoError: the name is taken, it would wait in vain, or what would be written does not load.
    """
    file = Path("dags") / wanted.layer / f"{wanted.name}.py"
    test = Path("tests") / "dags" / f"test_{wanted.name}.py"
    _not_taken(wanted, dags, root)
    values = _values(wanted, dags)
    texts = {file: _formatted(_template(f"{wanted.kind}.py.jinja").render(values))}
    if wanted.kind == "manual":
        texts[test] = _formatted(_template("test_manual.py.jinja").render(values))
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / file
        trial.parent.mkdir(parents=True)
        trial.write_text(texts[file])
        load_dags(Path(folder) / "dags")
    for path in texts:
        if (root / path).exists():
            raise WtmoError(f"{path} exists already", fix="choose another NAME=")
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with (root / path).open("x") as opened:
            opened.write(text)
    return list(texts)


# --- what an author gave


def checked_name(name: str) -> str:
    """A name that a DAG, its file and its pods can have.

    :raises WtmoError: it can't; the error says which could.
    """
    fitting = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:_LONGEST_NAME].rstrip("_")
    if fitting[:1].isdigit():
        fitting = f"job_{fitting}"[:_LONGEST_NAME]
    if name != fitting or not name:
        raise WtmoError(
            f"{name!r} cannot be the name of a DAG: lower-case letters, digits and single _ between them, a letter first, "
            f"{_LONGEST_NAME} characters at most",
            fix=f"NAME={fitting or 'my_job'}",
        )
    if prefix := next((prefix for prefix in _GENERATED if name.startswith(prefix)), None):
        raise WtmoError(
            f"{name!r} begins like the DAGs that bigquery-etl generates, and could be one of theirs some day",
            fix=f"NAME={name.removeprefix(prefix) or 'my_job'}",
        )
    return name


def checked_schedule(schedule: str) -> str:
    """A schedule that Airflow takes.

    :raises WtmoError: it doesn't.
    """
    from airflow.exceptions import AirflowTimetableInvalid

    try:
        _timetable(schedule).validate()
    except (AirflowTimetableInvalid, ValueError) as error:
        raise WtmoError(
            f"{schedule!r} is not a schedule: {error}",
            fix="a cron expression of five parts (SCHEDULE='0 5 * * *'), @hourly, @daily, @weekly, @monthly, or none",
        ) from error
    return schedule


def checked_sentence(text: str) -> str:
    """A sentence that can be the first line of a docstring.

    :raises WtmoError: it can't.
    """
    if not text.endswith(".") or len(text) > _LONGEST_SENTENCE or re.search(r'["\\]', text) or not text.isprintable():
        raise WtmoError(
            f"{text!r} cannot be the first line of the page: one sentence with its full stop, {_LONGEST_SENTENCE} characters at "
            'most, without " and \\',
            fix="ABOUT='Export the day to the partner.'",
        )
    return text


def _checked_image(name: str) -> str:
    try:
        image(name)
    except ValueError as error:
        raise WtmoError(str(error)) from error
    return name


def _checked_table(table: str) -> str:
    if re.fullmatch(TABLE, table) is None:
        raise WtmoError(f"{table!r} is not dataset.table", fix="TABLE=telemetry_derived.my_table_v1")
    return table


def _checked_members(text: str) -> tuple[str, ...]:
    members = tuple(part.strip() for part in text.split(",") if part.strip())
    if len(set(members)) < max(2, len(members)):
        raise WtmoError(f"{text!r}: a family has two members or more, each once", fix="MEMBERS=desktop,android")
    return tuple(checked_name(member) for member in members)


def _date(text: str | None, today: dt.date) -> dt.date:
    try:
        return dt.date.fromisoformat(text) if text else today
    except ValueError as error:
        raise WtmoError(f"{text!r} is not a date: {error}", fix="START=2026-06-01") from error


def _not_taken(wanted: Order, dags: Mapping[str, DAG], root: Path) -> None:
    taken = {dag_id.replace("-", "_"): (dag_id, Path(dag.fileloc)) for dag_id, dag in dags.items()}
    files = {path.stem: (path.stem, path) for path in sorted((root / "dags").rglob("*.py"))}
    for name in (wanted.name, *(f"{wanted.name}_{member}" for member in wanted.members)):
        if found := taken.get(name) or files.get(name):
            dag_id, path = found
            where = path.relative_to(root) if path.is_relative_to(root) else path
            raise WtmoError(f"the name {dag_id} is taken by {where}", fix="choose another NAME=")


# --- what is written


def _values(wanted: Order, dags: Mapping[str, DAG]) -> dict[str, Any]:
    """What the templates name."""
    dataset, _, table = (wanted.table or "").partition(".")
    values = {
        **vars(wanted),
        "about": wanted.about or _about(wanted),
        "image": wanted.image or _DEFAULT_IMAGE,
        "command": _command(wanted),
        "commands": {member: [*_command(wanted), "--product", member] for member in wanted.members},
        "dataset": dataset,
        "table": table,
        "task_id": "__".join([dataset, *re.split(r"_(?=v[0-9]+$)", table)]),
        "cluster": f"{wanted.name.replace('_', '-')[:_LONGEST_CLUSTER_NAME].rstrip('-')}-{{{{ ds_nodash }}}}",
    }
    if wanted.kind == "sensors":
        of_dag, of_task = _target(wanted.waits_for, dags)
        values |= {"of_dag": of_dag, "of_task": of_task, "shift": _shift(wanted, dags[of_dag])}
    return values | _page(wanted)


def _about(wanted: Order) -> str:
    program = f"Run the program of the image {wanted.image or _DEFAULT_IMAGE}"
    about = {
        "pod": f"{program}.",
        "sensors": f"{program} when {wanted.waits_for} is done.",
        "query": f"Derive {wanted.table} from a query of bigquery-etl.",
        "family": f"{program}, once for each product.",
        "manual": f"{program} for one day and one table. Started by hand.",
        "dataproc": "Run a PySpark program on a cluster of its own.",
    }[wanted.kind]
    return about if len(about) <= _LONGEST_SENTENCE else f"{KINDS[wanted.kind].capitalize()}."


def _command(wanted: Order) -> list[str]:
    """The pod's arguments."""
    of = IMAGES[wanted.image or _DEFAULT_IMAGE]
    date = "{{ params['date'] }}" if wanted.kind == "manual" else "{{ ds }}"
    command = [*_program(of), "--date", date]
    if wanted.kind == "manual":
        command += ["--table", "{{ params['table'] }}", "--{{ '' if params['dry_run'] else 'no-' }}dry-run"]
    return command


def _program(of: Image) -> list[str]:
    if of.name == _DEFAULT_IMAGE:
        return ["echo"]
    return ["python", f"{of.name.replace('-', '_')}/main.py"] if _DOCKER_ETL in of.repository else []


def _page(wanted: Order) -> dict[str, str]:
    """The sections of the page: what is true of the DAG as it is written."""
    of = IMAGES[wanted.image or _DEFAULT_IMAGE]
    source = f"; its source is {of.source}" if of.source else ""
    data = f"The program is that of the image `{of.name}`{source}."
    if of.name == _DEFAULT_IMAGE:
        data = "As it was made, it prints its arguments, and reads and writes nothing."
    log = "The log of the task says what failed."
    rerun = "Clear the task: the program runs again for the same day."
    match wanted.kind:
        case "sensors":
            data += f" It begins when `{wanted.waits_for}` is done."
            log += " A sensor that waits in vain names the run that it waits for."
        case "query":
            dataset, _, table = (wanted.table or "").partition(".")
            data = (
                f"`query.sql` in the folder `sql/{WAREHOUSE_PROJECT}/{dataset}/{table}` of bigquery-etl says what is read. The day's "
                f"partition of `{WAREHOUSE_PROJECT}.{dataset}.{table}` is written, and `checks.sql` beside the query looks at it."
            )
            log += " Checks run when the table is written: what a failed one found stands in it."
            rerun = "Clear the task of the query: the day's partition is replaced and checked again."
        case "family":
            data += f" There is a DAG for each of {', '.join(wanted.members)}."
        case "manual":
            log = "Whoever started it reads the log; nothing waits for it."
            rerun = "Start a new run with the same values."
        case "dataproc":
            data = (
                f"The program is `jobs/{wanted.name}.py` in the artifact bucket of `utils.config.DATAPROC`. It runs on a "
                "cluster of its own, which is deleted whatever becomes of it."
            )
            log = "The log of `run_dataproc_pyspark` leads to the driver's output."
            rerun = "Clear the task `run_dataproc_pyspark`: its cluster is made anew, and the day computed again."
    failure = log if wanted.kind == "manual" else f"Tell the team {wanted.team} {_URGENCY[wanted.tier]}. {log}"
    return {"data": data, "failure": failure, "rerun": rerun}


def _target(waits_for: str, dags: Mapping[str, DAG]) -> tuple[str, str | None]:
    of_dag, _, of_task = waits_for.partition(".")
    if of_dag not in dags:
        raise WtmoError(
            f"there is no DAG {of_dag!r} here to wait for. {did_you_mean(of_dag, dags)}",
            fix="one that bigquery-etl generates: make a DAG of kind pod, add wait_for(...) to it by hand, and a line to "
            "tests/dags/imported.py",
        )
    if of_task and of_task not in dags[of_dag].task_ids:
        raise WtmoError(f"{of_dag} has no task {of_task!r}", fix=did_you_mean(of_task, dags[of_dag].task_ids))
    return of_dag, of_task or None


def _shift(wanted: Order, target: DAG) -> dt.timedelta:
    """How much earlier the run begins that is waited for: the same for every run, or it would wait in vain.

    :raises WtmoError: there is no such time.
    """
    from airflow.serialization.encoders import coerce_to_core_timetable

    timetable = coerce_to_core_timetable(target.timetable)
    dates = list(islice(_dates(_timetable(wanted.schedule), wanted.start), _COMPARED_RUNS))
    fault = WtmoError(
        f"no single shift leads from each run of {wanted.schedule or BY_HAND!r} to one of {target.dag_id} ({timetable.summary})",
        fix=f"give it a schedule that {target.dag_id} keeps pace with, such as SCHEDULE='{timetable.summary}'",
    )
    if not dates or target.schedule is None:
        raise fault
    theirs = list(_dates(timetable, wanted.start - _LONGEST_SHIFT, until=dates[-1]))
    places = [bisect_right(theirs, date) for date in dates]
    # Two of pendulum's differences are equal only between the same dates.
    shifts = {
        date.timestamp() - theirs[place - 1].timestamp() if place else None
        for date, place in zip(dates, places, strict=True)
    }
    shift = shifts.pop()
    if shifts or shift is None:
        raise fault
    return dt.timedelta(seconds=shift)


def _timetable(schedule: str | None) -> Timetable:
    from airflow.sdk import DAG
    from airflow.serialization.encoders import coerce_to_core_timetable

    return coerce_to_core_timetable(DAG("any", schedule=schedule, start_date=dt.datetime(2026, 1, 1)).timetable)


def _dates(timetable: Timetable, start: dt.date, *, until: dt.datetime | None = None) -> Iterator[dt.datetime]:
    """The logical dates of a timetable's runs from a day on."""
    import pendulum
    from airflow.timetables.base import TimeRestriction

    earliest = pendulum.datetime(start.year, start.month, start.day)
    latest = pendulum.instance(until) if until else earliest.add(days=_COMPARED_DAYS)
    window = TimeRestriction(earliest=earliest, latest=latest, catchup=True)
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=window)
    while info is not None and info.logical_date is not None:
        yield info.logical_date
        info = timetable.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=window)


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["literal"] = _literal
    environment.globals["wrapped"] = lambda text: textwrap.fill(
        text, _WIDTH, break_long_words=False, break_on_hyphens=False
    )
    return environment.get_template(name)


def _literal(value: Any) -> str:
    """A value as Python source."""
    if isinstance(value, dt.timedelta):
        hours, seconds = divmod(int(value.total_seconds()), 3600)
        parts = {"days": hours // 24, "hours": hours % 24, "minutes": seconds // 60}
        return f"timedelta({', '.join(f'{unit}={number}' for unit, number in parts.items() if number)})"
    if isinstance(value, dt.date):
        return f"datetime({value.year}, {value.month}, {value.day})"
    return repr(value)


def _formatted(text: str) -> str:
    """Source in the project's format."""
    command = [sys.executable, "-m", "ruff", "format", "--config", str(ROOT / "pyproject.toml"), "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise WtmoError(f"ruff could not format the new file: {done.stderr.strip()}", fix="make setup")
    return done.stdout
