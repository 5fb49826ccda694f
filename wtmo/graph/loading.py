"""The hand-written DAGs: as plain data (:func:`own_dags`), or as Airflow's objects, for who asks a timetable.

Edges come from the data alone (:mod:`wtmo.graph.graph`). Objects are loaded as Airflow does it, with no database, no network and no
Airflow home of the user's. Airflow reads its settings when it is imported, so who needs objects runs in a process with
:func:`settings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils.config import ROOT, environment
from wtmo.errors import WtmoError
from wtmo.graph.inventory import DATE, DEFAULT_CACHE, OWN, Source, inventory

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import DAG

    from wtmo.graph.model import Dag

DAGS = ROOT / "dags"
_OF_THE_USER = ("HOME", "LANG", "LC_ALL", "PATH", "TERM", "TMPDIR", "COLUMNS", "NO_COLOR", "VIRTUAL_ENV")
_MARK = "WTMO_LOADS_DAGS"


def settings(home: Path) -> dict[str, str]:
    """The whole environment of a process that loads DAGs: nothing of the user's changes what they are.

    :param home: an empty folder that is removed afterwards.
    """
    own = environment()
    return {name: own[name] for name in _OF_THE_USER if name in own} | {
        _MARK: "1",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'config'}",
        "WTMO_ROOT": str(ROOT),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody:@127.0.0.1:1/none",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
    }


def has_settings() -> bool:
    """Whether this process has the environment of :func:`settings`."""
    return _MARK in environment()


def own_dags(folder: Path = DAGS, *, date: str = DATE, cache: Path | None = DEFAULT_CACHE) -> dict[str, Dag]:
    """What is known of every hand-written DAG, by its id, in the order of the ids. Loads what changed, in the sandbox.

    :param date: ``YYYY-MM-DD``, for which dates are worked out.
    :param cache: folder where what was found out is kept. None: nowhere.
    :raises WtmoError: a file does not load, two DAGs have one id, or there is no DAG. A broken rule is none: ``wtmo check`` tells it.
    """
    found = inventory([Source(OWN, folder)], date=date, cache=cache)
    refused = [file for file in found.files if file.refused is not None]
    if refused:
        more = f" (and {len(refused) - 1} more files)" if len(refused) > 1 else ""
        raise WtmoError(
            f"{folder / refused[0].name} does not load{more}:\n{refused[0].refused}", fix="mend it, then run this again"
        )
    for dag_id, places in found.twice.items():
        raise WtmoError(
            f"{len(places)} files have a DAG {dag_id}: {', '.join(places)}", fix="name one of them otherwise"
        )
    return found.dags


def load_dags(folder: Path = DAGS) -> dict[str, DAG]:
    """Every DAG below a folder, by its id, in the order of the ids.

    :raises WtmoError: a file does not load or breaks a rule, two DAGs have one id, or there is no DAG.
    """
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(folder), bundle_path=folder, bundle_name=folder.name)
    if bag.import_errors:
        file, error = sorted(bag.import_errors.items())[0]
        more = f" (and {len(bag.import_errors) - 1} more files)" if len(bag.import_errors) > 1 else ""
        raise WtmoError(f"{file} does not load{more}:\n{error.strip()}", fix="mend it, then run this again")
    if not bag.dags:
        raise WtmoError(f"there is no DAG in {folder}")
    return dict(sorted(bag.dags.items()))
