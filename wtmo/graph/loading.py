"""Loads a folder of DAGs as Airflow does, with no database, no network and no Airflow home of the user's.

Airflow reads its settings when it is imported, so who needs DAGs runs in a process with :func:`settings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils.config import ROOT, environment
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import DAG

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
