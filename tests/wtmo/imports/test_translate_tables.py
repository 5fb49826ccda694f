"""The translator's tables against Airflow 3.3 and against what generated files call here: a drift of either fails."""

from __future__ import annotations

import ast
import importlib
import inspect
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import airflow
import pytest
from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS, Context

from operators.gcp_container_operator import GKEPodOperator
from utils import constants, gcp
from utils.tags import KNOWN_TAGS, Tag
from wtmo.imports import contract, templates

CORE = Path(airflow.__path__[0])
SHIMS = ("decorators", "hooks", "io", "models", "notifications", "operators", "sensors", "triggers", "utils")
NOT_FOR_DAG_FILES = {
    "airflow.io": "functions of a library",
    "airflow.io.storage": "functions of a library",
    "airflow.io.typedef": "functions of a library",
    "airflow.decorators.base": "for authors of decorators",
    "airflow.models.abstractoperator": "for authors of operators",
    "airflow.utils.decorators": "for authors of operators",
    "airflow.utils.setup_teardown": "internal",
    "airflow.utils.timeout": "internal",
    "airflow.utils.xcom": "a constant",
}
"""Shims that no DAG file needs: an import from them is refused."""

NO_DAG_FILE_HAS = {"*", "DB_SAFE_MAXIMUM", "DB_SAFE_MINIMUM", "Operator", "db_safe_priority"}


def load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        return importlib.import_module(path)


@cache
def parameters(target: str) -> frozenset[str]:
    """Every keyword that a call takes."""
    called = load(target)
    if not inspect.isclass(called):
        own = set(inspect.signature(called).parameters) | set(inspect.signature(gcp._bqetl_pod).parameters)
        return frozenset(own | parameters(f"{GKEPodOperator.__module__}.{GKEPodOperator.__name__}"))
    bases = [base for base in called.__mro__ if "__init__" in vars(base)]
    return frozenset(name for base in bases for name in inspect.signature(base).parameters)


def shims() -> dict[tuple[str, str], str]:
    """What Airflow's own packages say that they moved: module and name, and where to."""
    found: dict[tuple[str, str], str] = {}
    for package in SHIMS:
        tree = ast.parse((CORE / package / "__init__.py").read_text())
        tables = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Dict) and node.values and all(isinstance(v, ast.Dict) for v in node.values)
        ]
        for table in tables:
            for key, inner in zip(table.keys, table.values, strict=True):
                module = f"airflow.{package}" + (f".{key.value}" if isinstance(key, ast.Constant) else "")
                assert isinstance(inner, ast.Dict)
                for name, target in zip(inner.keys, inner.values, strict=True):
                    assert isinstance(name, ast.Constant)
                    assert isinstance(target, ast.Constant)
                    found[module, name.value] = target.value
    return found


def test_airflow_has_shims_to_compare_with() -> None:
    assert len(shims()) > 60


@pytest.mark.parametrize(("moved", "target"), shims().items(), ids=lambda value: str(value))
def test_every_shim_of_airflow_is_known(moved: tuple[str, str], target: str) -> None:
    module, name = moved
    if module not in NOT_FOR_DAG_FILES and name not in NO_DAG_FILE_HAS:
        known = contract.MOVED_BY_AIRFLOW | contract.MOVED_BY_US
        assert moved in known, f"Airflow moved {module}.{name} to {target}: add it to MOVED_BY_AIRFLOW"


@pytest.mark.parametrize(("moved", "target"), contract.MOVED_BY_AIRFLOW.items(), ids=lambda value: str(value))
def test_a_moved_name_is_the_same_object_and_gives_no_warning(moved: tuple[str, str], target: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = load(".".join(moved))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        new = load(target)
    assert old is new
    assert not [w for w in seen if "deprecat" in str(w.message).lower() and target in str(w.message)]


@pytest.mark.parametrize("target", sorted({*contract.CALLS, *contract.VALUES, *contract.MOVED_BY_US.values()}))
def test_every_target_exists(target: str) -> None:
    assert load(target) is not None


@pytest.mark.parametrize("target", sorted(contract.CALLS))
def test_every_keyword_is_one_that_the_call_takes(target: str) -> None:
    if target.startswith("datetime."):
        return  # Written in C, without a signature.
    assert contract.CALLS[target].keywords - parameters(target) == set()


@pytest.mark.parametrize("target", sorted(contract.CALLS))
def test_a_keyword_that_is_renamed_ends_at_one_that_is_known(target: str) -> None:
    call = contract.CALLS[target]
    assert set(call.renames.values()) <= call.keywords
    assert not call.renames.keys() & call.keywords
    assert call.renames.keys() <= contract.KEYWORD_RULES.keys()


def test_every_rule_that_a_keyword_names_is_listed() -> None:
    assert set(contract.KEYWORD_RULES.values()) <= {rule.name for rule in contract.RULES}


def test_no_operator_parameter_of_airflow_is_without_a_verdict() -> None:
    """A parameter of BaseOperator is known, refused with a reason, or among those that generated data can't hold."""
    from airflow.sdk import BaseOperator

    taken = set(inspect.signature(BaseOperator.__init__).parameters) - {"self", "kwargs"}
    new_or_code = {
        "allow_nested_operators",
        "default_args",
        "executor",
        "executor_config",
        "inlets",
        "logger_name",
        "map_index_template",
        "multiple_outputs",
        "outlets",
        "render_template_as_native_obj",
        "resources",
        "retry_policy",
        "run_as_user",
    }
    assert taken == set(contract.OPERATOR_KEYWORDS) | (contract.REFUSED_KEYWORDS.keys() & taken) | new_or_code


def test_default_args_are_parameters_of_operators() -> None:
    everything = frozenset[str]().union(*(parameters(t) for t, call in contract.CALLS.items() if call.kind == "task"))
    assert everything >= contract.DEFAULT_ARGS_KEYS


def test_a_keyword_has_one_type() -> None:
    seen = [name for names in contract.KEYWORD_TYPES.values() for name in names]
    assert len(seen) == len(set(seen))
    known = frozenset[str]().union(*(call.keywords for call in contract.CALLS.values()))
    assert set(seen) <= known


def test_the_context_of_templates_is_airflows() -> None:
    assert templates.CONTEXT_KEYS | templates.CONTEXT_KEYS_ELSEWHERE == KNOWN_CONTEXT_KEYS
    assert not templates.CONTEXT_KEYS & templates.CONTEXT_KEYS_ELSEWHERE


def test_macros_and_filters_are_airflows() -> None:
    from airflow.sdk.definitions._internal.templater import FILTERS
    from airflow.sdk.execution_time import macros

    tree = ast.parse(inspect.getsource(macros))
    public = {
        alias.asname or alias.name for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom) for alias in n.names
    }
    public |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    assert public - {"annotations", "TYPE_CHECKING", "Any"} == templates.MACROS | ({"yaml"} & public)
    assert set(FILTERS) == templates.FILTERS


def test_attributes_of_dag_run_and_task_instance_are_airflows() -> None:
    from airflow.sdk.types import DagRunProtocol, RuntimeTaskInstanceProtocol

    assert templates.ATTRIBUTES["dag_run"] == set(DagRunProtocol.__annotations__)
    instance = {*RuntimeTaskInstanceProtocol.__annotations__, *vars(RuntimeTaskInstanceProtocol)}
    assert templates.ATTRIBUTES["ti"] <= instance
    assert "dag_run" in Context.__annotations__


def test_trigger_rules_are_airflows() -> None:
    from airflow.sdk import TriggerRule

    old = {rule.value for rule in TriggerRule} - {"all_done_min_one_success"}  # new in Airflow 3
    assert old == contract.TRIGGER_RULES
    assert set(contract.TRIGGER_RULES_RENAMED.values()) <= contract.TRIGGER_RULES
    assert not contract.TRIGGER_RULES_RENAMED.keys() & old


@pytest.mark.parametrize("enumeration", ["TaskInstanceState", "DagRunState", "TriggerRule", "WeightRule"])
def test_members_of_enumerations_exist(enumeration: str) -> None:
    members = contract.VALUES[f"airflow.sdk.{enumeration}"]
    assert members
    assert members <= set(load(f"airflow.sdk.{enumeration}").__members__)


def test_states_keep_their_values() -> None:
    from airflow.sdk import TaskInstanceState
    from airflow.utils.state import State

    for name in contract.VALUES["airflow.sdk.TaskInstanceState"] or ():
        assert getattr(State, name, TaskInstanceState[name]) == TaskInstanceState[name]


# What imported files notice of this repository. Neither a name nor a default may change: the generator relies on them.


def test_the_states_that_sensors_name() -> None:
    assert constants.ALLOWED_STATES == ["success"]
    assert constants.FAILED_STATES == ["failed", "upstream_failed", "skipped"]


def test_tags_that_files_may_name_exist() -> None:
    for path in contract.VALUES["utils.tags.Tag"] or ():
        family, member = path.split(".")
        assert getattr(getattr(Tag, family), member) in KNOWN_TAGS


DEFAULTS: dict[str, dict[str, Any]] = {
    "bigquery_etl_query": {
        "project_id": "moz-fx-data-shared-prod",
        "sql_file_path": None,
        "date_partition_parameter": "submission_date",
        "table_partition_template": "${{ds_nodash}}",
        "parameters": (),
        "arguments": (),
        "multipart": False,
    },
    "bigquery_dq_check": {
        "project_id": "moz-fx-data-shared-prod",
        "is_dq_check_fail": True,
        "parameters": (),
        "arguments": (),
    },
    "bigquery_bigeye_check": {"project_id": "moz-fx-data-shared-prod"},
    "_bqetl_pod": {
        "gcp_conn_id": "google_cloud_airflow_gke",
        "gke_project_id": "moz-fx-data-airflow-gke-prod",
        "gke_location": "us-west1",
        "gke_cluster_name": "workloads-prod-v1",
        "gke_namespace": "default",
    },
}


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_what_a_file_leaves_out_means_what_it_meant(name: str) -> None:
    signature = inspect.signature(getattr(gcp, name)).parameters
    assert {key: signature[key].default for key in DEFAULTS[name]} == DEFAULTS[name]
