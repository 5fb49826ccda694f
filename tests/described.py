"""DAGs that a test makes, as an inventory has them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wtmo.graph.describe.dags import describe_dag
from wtmo.graph.inventory import DATE, OWN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import DAG

    from wtmo.graph.model import Dag

DAY = datetime.fromisoformat(DATE).replace(tzinfo=UTC)


def described(dags: Iterable[DAG], folder: Path) -> dict[str, Dag]:
    """What is known of DAGs, by their ids.

    :param folder: that their files are in.
    """
    return {
        dag.dag_id: describe_dag(dag, DAY, OWN, Path(dag.fileloc).relative_to(folder).as_posix(), {}) for dag in dags
    }
