"""The tasks that imported DAGs are made of: query, check, monitor, copy.

Names and keyword arguments are a contract with bigquery-etl's generator, which this project does not own. Each
function returns one pod task on the bigquery-etl image. What it doesn't take itself goes to
:class:`operators.gcp_container_operator.GKEPodOperator`, and Airflow refuses there what nothing knows.

Queries and checks also run without a pod: with ``engine="native"``, or by the setting ``WTMO_QUERY_ENGINE=native`` for all
that name no engine, :class:`operators.bigquery.BigQueryRunBqetlOperator` takes the same command line and submits the
same BigQuery jobs itself. Parameters of a pod mean nothing there: with ``engine="native"`` they are an error, by the setting
they are left out, since imported files name the pod cluster: ``gcp_conn_id`` and ``location`` too.

Parameters that all of them have:

:param task_id: id of the task.
:param docker_image: image to run. Default: the private bigquery-etl image.
:param gcp_conn_id: Airflow connection to the pod cluster.
:param gke_project_id: Google Cloud project of the pod cluster.
:param gke_location: region of the pod cluster.
:param gke_cluster_name: name of the pod cluster.
:param gke_namespace: Kubernetes namespace of the pod.
:param task_concurrency: how many of this task run at once over all runs. Airflow 2's name of ``max_active_tis_per_dag``.

``arguments`` and ``parameters`` are templated; ``parameters`` are of the form ``name:TYPE:value``.
"""

from __future__ import annotations

from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any

from operators.gcp_container_operator import GKEPodOperator
from utils.config import CONNECTIONS, GKE, WAREHOUSE_PROJECT, QueryTasks
from utils.images import image
from utils.secrets import pod_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from operators.bigquery import BigQueryRunBqetlOperator

    BqetlTask = GKEPodOperator | BigQueryRunBqetlOperator

_OF_BQETL_PODS = {"docker_image", "gke_project_id", "gke_location", "gke_cluster_name", "gke_namespace"}


def bigquery_etl_query(
    *,
    task_id: str,
    destination_table: str | None,
    dataset_id: str,
    project_id: str = WAREHOUSE_PROJECT,
    sql_file_path: str | None = None,
    date_partition_parameter: str | None = "submission_date",
    table_partition_template: str = "${{ds_nodash}}",
    parameters: Sequence[str] = (),
    arguments: Sequence[str] = (),
    multipart: bool = False,
    engine: str | None = None,
    **pod: Any,
) -> BqetlTask:
    """Run a query file of bigquery-etl and write its rows to a table.

    With a ``date_partition_parameter``, one day's partition is replaced: the run of 2026-06-01 of ``clients_v1``
    writes ``clients_v1$20260601`` and passes ``submission_date:DATE:2026-06-01``. Without, the whole table is.

    :param destination_table: table to write, without its dataset. May name its partition itself (``t_v1$20260601``).
        None: the query file writes by itself.
    :param dataset_id: dataset, or ``project:dataset`` where the query runs in another project than it writes to.
    :param project_id: project that the query runs in. Default: the warehouse.
    :param sql_file_path: query file, from the root of bigquery-etl. Default:
        ``sql/<project>/<dataset>/<table>/query.sql``; the folder alone for a multipart query.
    :param date_partition_parameter: parameter that carries the run's date. None: write the whole table.
    :param table_partition_template: what is put behind the table's name for its partition.
    :param parameters: parameters of the query.
    :param arguments: further flags of the query runner.
    :param multipart: run all ``part*.sql`` of a folder and join them. Default: False.
    :param engine: ``pod``, or ``native`` for BigQuery jobs without a pod. Default: the setting
        (:class:`utils.config.QueryTasks`), which is ``pod`` unless it was changed.
    :param pod: see the module's parameters, and those of ``GKEPodOperator`` or, native, of ``BigQueryRunBqetlOperator``.
    :raises ValueError: no query file can be told, a partition is named twice, or a flag needs the pod.
    :raises TypeError: ``engine="native"`` with a parameter of pods.
    """
    parameters = list(parameters)
    destination = destination_table
    if destination_table is not None and date_partition_parameter is not None:
        if "$" in destination_table:
            raise ValueError(
                f"Task {task_id}: destination_table={destination_table!r} names its partition, and "
                f"date_partition_parameter={date_partition_parameter!r} would add another. "
                "Give date_partition_parameter=None."
            )
        destination = destination_table + table_partition_template
        parameters.append(f"{date_partition_parameter}:DATE:{{{{ds}}}}")
    if sql_file_path is None:
        if destination_table is None:
            raise ValueError(f"Task {task_id}: without a destination_table, give sql_file_path=.")
        folder = _table_folder(project_id, dataset_id, destination_table)
        sql_file_path = folder if multipart else f"{folder}/query.sql"
    return _bqetl_task(
        engine,
        task_id,
        [
            *(["script/bqetl", "query", "run-multipart"] if multipart else ["query"]),
            *([f"--destination_table={destination}"] if destination else []),
            f"--dataset_id={dataset_id}",
            f"--project_id={project_id}",
            *_flags("--parameter", parameters),
            *arguments,
            sql_file_path,
        ],
        **pod,
    )


def bigquery_dq_check(
    *,
    task_id: str,
    source_table: str,
    dataset_id: str,
    project_id: str = WAREHOUSE_PROJECT,
    is_dq_check_fail: bool = True,
    parameters: Sequence[str] = (),
    arguments: Sequence[str] = (),
    engine: str | None = None,
    **pod: Any,
) -> BqetlTask:
    """Run the data checks that bigquery-etl keeps beside a table's query, ``checks.sql``.

    :param source_table: table to check, without its dataset; a partition (``t_v1$...``) is not part of the path.
    :param dataset_id: dataset, or ``project:dataset``.
    :param project_id: project of the table. Default: the warehouse.
    :param is_dq_check_fail: run the checks marked ``fail``, which fail the task; else those marked ``warn``.
    :param parameters: parameters of the checks.
    :param arguments: further flags of the check runner.
    :param engine: as of :func:`bigquery_etl_query`.
    :param pod: as of :func:`bigquery_etl_query`.
    :raises ValueError: a flag needs the pod.
    :raises TypeError: ``engine="native"`` with a parameter of pods.
    """
    return _bqetl_task(
        engine,
        task_id,
        [
            *("script/bqetl", "check", "run", "--marker", "fail" if is_dq_check_fail else "warn"),
            _table_folder(project_id, dataset_id, source_table),
            *_flags("--parameter", parameters),
            *arguments,
        ],
        **pod,
    )


def bigquery_bigeye_check(
    *,
    task_id: str,
    table_id: str,
    warehouse_id: str,
    project_id: str = WAREHOUSE_PROJECT,
    secrets: Sequence[Any] = (),
    **pod: Any,
) -> GKEPodOperator:
    """Run the monitors that Bigeye has of a table.

    :param table_id: table in full, ``project.dataset.table``.
    :param warehouse_id: number of the warehouse in Bigeye.
    :param project_id: project that queries run in. Default: the warehouse.
    :param secrets: secrets besides Bigeye's API key.
    :param pod: see the module's parameters, and those of ``GKEPodOperator``.
    """
    return _bqetl_pod(
        task_id,
        [
            *("script/bqetl", "monitoring", "run", table_id),
            *("--warehouse_id", warehouse_id),
            *("--project_id", project_id),
        ],
        secrets=[*secrets, *pod_secrets("bqetl_artifact_deployment", BIGEYE_API_KEY="bigeye_api_key")],
        **pod,
    )


def bigquery_etl_copy_deduplicate(
    *,
    task_id: str,
    target_project_id: str = WAREHOUSE_PROJECT,
    billing_projects: Sequence[str] = (),
    only_tables: Sequence[str] | None = None,
    except_tables: Sequence[str] = (),
    write_to_v2_tables: Sequence[str] = (),
    parallelism: int = 4,
    priority: str = "INTERACTIVE",
    hourly: bool = False,
    slices: int | None = None,
    **pod: Any,
) -> GKEPodOperator:
    """Copy the run's day from live ping tables to stable ones, one row a ``document_id``.

    Tables are named ``<dataset>.<table>``, with ``*`` for any text: ``telemetry_live.main_v*``.

    :param target_project_id: project of the tables. Default: the warehouse.
    :param billing_projects: projects that the queries run in, in turn. Default: that of the connection.
    :param only_tables: process these. Default: all.
    :param except_tables: process all but these.
    :param write_to_v2_tables: write these to the next version of their stable table.
    :param parallelism: how many queries run at once.
    :param priority: ``INTERACTIVE`` or ``BATCH``.
    :param hourly: process a day in 24 slices.
    :param slices: process a day in so many slices. Default: in one.
    :param pod: see the module's parameters, and those of ``GKEPodOperator``.
    :raises ValueError: ``only_tables`` is empty.
    """
    if only_tables is not None and not only_tables:
        raise ValueError(
            f"Task {task_id}: only_tables is empty, and without an --only every live table would be processed. "
            "Name the tables, or leave only_tables out if all are meant."
        )
    return _bqetl_pod(
        task_id,
        [
            *("script/bqetl", "copy_deduplicate"),
            f"--project-id={target_project_id}",
            *(["--billing-projects", *billing_projects] if billing_projects else []),
            "--date={{ds}}",
            f"--parallelism={parallelism}",
            f"--priority={priority}",
            *(["--hourly"] if hourly else []),
            *([f"--slices={slices}"] if slices is not None else []),
            *_repeated("--only", only_tables or ()),
            *_repeated("--except", except_tables),
            *_repeated("--write-to-v2", write_to_v2_tables),
        ],
        **pod,
    )


def _bqetl_task(engine: str | None, task_id: str, command: list[str], **given: Any) -> BqetlTask:
    """The task on the engine that it names, or else on that of the setting."""
    chosen = engine or QueryTasks().engine
    if chosen == "pod":
        return _bqetl_pod(task_id, command, **given)
    if chosen != "native":
        raise ValueError(f"Task {task_id}: there is no engine {chosen!r}. Give engine='pod' or engine='native'.")
    # Here, as a DAG without such tasks needs not wait for the client libraries.
    from operators.bigquery import BigQueryRunBqetlOperator

    of_pods = _parameters(GKEPodOperator) - _parameters(BigQueryRunBqetlOperator) | _OF_BQETL_PODS
    if engine is None:
        # These name the cluster, or the way to it.
        of_pods |= {"gcp_conn_id", "impersonation_chain", "location"}
        given = {name: value for name, value in given.items() if name not in of_pods}
    elif foreign := sorted(of_pods & set(given)):
        raise TypeError(f"Task {task_id}: {', '.join(foreign)}= is of pods. Leave it out, or use engine='pod'.")
    return BigQueryRunBqetlOperator(task_id=task_id, arguments=command, **_concurrency(task_id, given))


@cache
def _parameters(operator: type) -> frozenset[str]:
    """Every parameter that an operator takes, those of its bases too."""
    return frozenset(
        name for base in operator.__mro__ if "__init__" in vars(base) for name in signature(base).parameters
    )


def _concurrency(task_id: str, given: dict[str, Any]) -> dict[str, Any]:
    """``task_concurrency`` under its name of today."""
    if given.get("task_concurrency") is None:
        return {name: value for name, value in given.items() if name != "task_concurrency"}
    if "max_active_tis_per_dag" in given:
        raise TypeError(f"Task {task_id}: task_concurrency is max_active_tis_per_dag. Give one of them.")
    return {"max_active_tis_per_dag" if name == "task_concurrency" else name: value for name, value in given.items()}


def _bqetl_pod(
    task_id: str,
    command: list[str],
    *,
    docker_image: str | None = None,
    gcp_conn_id: str = CONNECTIONS.gke,
    gke_project_id: str = GKE.project_id,
    gke_location: str = GKE.location,
    gke_cluster_name: str = GKE.cluster_name,
    gke_namespace: str = GKE.namespace,
    **pod: Any,
) -> GKEPodOperator:
    cluster = {
        "project_id": gke_project_id,
        "location": gke_location,
        "cluster_name": gke_cluster_name,
        "namespace": gke_namespace,
    }
    return GKEPodOperator(
        task_id=task_id,
        image=docker_image or image("private-bigquery-etl"),
        arguments=command,
        gcp_conn_id=gcp_conn_id,
        # Of checks, the generator gives the cluster under the operator's own names.
        **cluster | _concurrency(task_id, pod),
    )


def _table_folder(project_id: str, dataset_id: str, table: str) -> str:
    project, _, dataset = dataset_id.rpartition(":")
    return f"sql/{project or project_id}/{dataset}/{table.split('$')[0]}"


def _flags(flag: str, values: Iterable[str]) -> list[str]:
    """``--flag=value`` for each."""
    return [f"{flag}={value}" for value in values]


def _repeated(flag: str, values: Iterable[str]) -> list[str]:
    """``--flag value`` for each, as two arguments."""
    return [part for value in values for part in (flag, value)]
