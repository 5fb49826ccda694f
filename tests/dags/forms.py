"""What Airflow makes of the values of a DAG's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.serialization.serialized_objects import DagSerialization

if TYPE_CHECKING:
    from airflow.sdk import DAG


def filled_in(dag: DAG, **given: Any) -> dict[str, Any]:
    """The parameters of a run that is started with some values, by the stored DAG, as the API server does it.

    :raises airflow.exceptions.ParamValidationError: a value is not allowed, or one is missing; no run is made.
    """
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    return dict(stored.params.deep_merge(given).validate())
