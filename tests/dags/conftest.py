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
def bags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DagBag]:
    """The DAGs of each folder, by the folder's path from the root; the sample's as an import serves them."""
    from airflow.dag_processing.dagbag import DagBag

    from wtmo.imports.translate import translate

    served = tmp_path_factory.mktemp("served")
    for file in (ROOT / "resources/sample/dags").glob("*.py"):
        (served / file.name).write_text(translate(file.read_bytes(), file.name).text)
    return {
        folder: DagBag(dag_folder=str(path), bundle_path=path, bundle_name=folder)
        for folder, path in (("dags", ROOT / "dags"), ("resources/sample/dags", served))
    }


@pytest.fixture(scope="session")
def dags(bags: dict[str, DagBag]) -> dict[str, DAG]:
    """Every DAG, the sample's too, by its id."""
    found = [dag for bag in bags.values() for dag in bag.dags.values()]
    by_id = {dag.dag_id: dag for dag in found}
    assert len(by_id) == len(found), f"a dag_id is used twice: {sorted(dag.dag_id for dag in found)}"
    return by_id
