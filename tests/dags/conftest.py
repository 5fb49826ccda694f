"""Every DAG of the project, loaded once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def bags() -> dict[str, DagBag]:
    """The DAGs of each folder, by the folder's path from the root."""
    from airflow.dag_processing.dagbag import DagBag

    return {
        folder: DagBag(dag_folder=str(ROOT / folder), bundle_path=ROOT / folder, bundle_name=folder)
        for folder in ("dags", "resources/sample/dags")
    }


@pytest.fixture(scope="session")
def dags(bags: dict[str, DagBag]) -> dict[str, DAG]:
    """Every DAG, the sample's too, by its id."""
    found = [dag for bag in bags.values() for dag in bag.dags.values()]
    by_id = {dag.dag_id: dag for dag in found}
    assert len(by_id) == len(found), f"a dag_id is used twice: {sorted(dag.dag_id for dag in found)}"
    return by_id
