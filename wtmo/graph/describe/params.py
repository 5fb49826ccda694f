"""User parameters of DAGs and tasks: what is told of them, and a value for each. Runs in the sandbox only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions._internal.types import is_arg_set

from wtmo.graph.describe.values import Unknown, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


def sample_params(params: Mapping[str, Any], logical: datetime) -> dict[str, Any]:
    """A value for each parameter: its default, else one that its schema allows."""
    schemas = {name: param_facts(value) for name, value in params.items()}
    return {
        name: facts["value"] if "value" in facts else _sample(name, facts["schema"], logical)
        for name, facts in schemas.items()
    }


def _sample(name: str, schema: Mapping[str, Any], logical: datetime) -> Any:
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else next((each for each in kinds if each != "null"), "null")
    if choices := schema.get("enum"):
        return choices[0]
    if kind in {"integer", "number"}:
        return schema.get("minimum", schema.get("maximum", 1))
    if kind == "array":
        items = schema.get("items", {})
        return [_sample(name, items, logical)] * max(1, schema.get("minItems", 1))
    simple: dict[str, Any] = {"boolean": False, "object": {}, "null": None}
    if kind in simple:
        return simple[kind]
    dates = {"date": f"{logical:%Y-%m-%d}", "date-time": logical.isoformat(), "time": f"{logical:%H:%M:%S}"}
    return dates.get(schema.get("format", ""), Unknown.of(f"params.{name}"))


def param_facts(param: Any) -> dict[str, Any]:
    """``value`` (left out where there is none), ``description`` and ``schema`` of a parameter."""
    if not hasattr(param, "schema"):
        return {"value": plain(param), "description": None, "schema": {}}
    told = {"description": param.description, "schema": plain(param.schema)}
    return told | ({"value": plain(param.value)} if is_arg_set(param.value) else {})
