"""What DAGs use is declared: teams, images, pools, connections, variables, secrets. And nobody's own address stands anywhere."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from utils import connections, secrets
from utils.config import ALERT_ADDRESS, DATAPROC
from utils.images import IMAGES, image_of
from utils.pools import POOLS
from utils.tags import Tag
from utils.teams import TEAMS
from utils.variables import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
POOL_NAMES = {"default_pool", *(pool.name for pool in POOLS)}
# What an operator's own default names, and no task of ours asks for.
NOT_ASKED_FOR = {"kubernetes_conn_id"}


def tasks(dags: dict[str, DAG]) -> list[tuple[str, Any]]:
    found = [(f"{dag.dag_id}.{task.task_id}", task) for dag in dags.values() for task in dag.tasks]
    assert found
    return found


def given(task: Any) -> dict[str, Any]:
    """What a task was given, also one that is mapped."""
    if hasattr(task, "partial_kwargs"):
        return {**task.partial_kwargs, **getattr(task.expand_input, "value", {})}
    return {name: getattr(task, name, None) for name in {*vars(task), *task.template_fields}}


def texts(value: Any) -> Iterator[str]:
    """Every text in a value: in lists, mappings, objects of Kubernetes and what makes commands when the task runs."""
    if isinstance(value, str):
        yield value
    elif hasattr(value, "to_dict"):
        yield from texts(value.to_dict())
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            yield from texts(getattr(value, entry.name))
    elif isinstance(value, Mapping):
        yield from texts(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from texts(part)


def undeclared_owner(task: Any) -> Iterator[str]:
    if task.owner not in TEAMS:
        yield f"is owned by {task.owner!r}. Owners are teams: default_args(owner=<team of utils/teams.py>)."


def undeclared_pool(task: Any) -> Iterator[str]:
    if task.pool not in POOL_NAMES:
        yield f"uses the pool {task.pool!r}. Declare it in utils/pools.py."


def undeclared_connection(task: Any) -> Iterator[str]:
    for name, value in given(task).items():
        asked = re.search(r"conn(ection)?_id$", name) and name not in NOT_ASKED_FOR and isinstance(value, str)
        if asked and value not in connections.DECLARED:
            yield f"{name}={value!r}. Declare the connection in utils/connections.py."
    for text in texts([given(task).get(name) for name in task.template_fields]):
        for name in re.findall(r"\bconn\.(?!get\b)(\w+)|\bconn\.get\(\s*['\"]([^'\"]+)", text):
            if "".join(name) not in connections.DECLARED:
                yield f"reads the connection {''.join(name)!r}. Declare it in utils/connections.py."


def undeclared_variable(task: Any) -> Iterator[str]:
    read = r"\bvar\.(?:value|json)\.(?:get\(\s*['\"]([^'\"]+)|(\w+))"
    for text in texts([given(task).get(name) for name in task.template_fields]):
        for name in map("".join, re.findall(read, text)):
            if name not in VARIABLES:
                yield f"reads the variable {name!r}. Declare it in utils/variables.py."


def undeclared_secret(task: Any) -> Iterator[str]:
    for secret in given(task).get("secrets") or []:
        if secret.key not in secrets.DECLARED.get(secret.secret, {}):
            yield f"uses the key {secret.key!r} of the secret {secret.secret!r}. Declare it in utils/secrets.py."


def undeclared_image(task: Any) -> Iterator[str]:
    name = given(task).get("image")
    if isinstance(name, str) and image_of(name) is None:
        yield f"runs the image {name!r}. Declare it in utils/images.py and name it: image(<name>)."


RULES = [
    undeclared_owner,
    undeclared_pool,
    undeclared_connection,
    undeclared_variable,
    undeclared_secret,
    undeclared_image,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_tasks_use_is_declared(dags: dict[str, DAG], rule: Any) -> None:
    found = [f"{name} {problem}" for name, task in tasks(dags) for problem in rule(task)]
    assert not found, "\n".join(found)


def breach(**differing: Any) -> Any:
    """A pod task that breaks a rule."""
    from operators.gcp_container_operator import GKEPodOperator

    return GKEPodOperator(**{"task_id": "t", "owner": "ads", "image": IMAGES["jetstream"].reference} | differing)


def breaches() -> Iterator[Any]:
    from airflow.providers.cncf.kubernetes.secret import Secret
    from kubernetes.client import V1EnvVar

    from utils.commands import late

    yield undeclared_owner, {"owner": "someone"}
    yield undeclared_pool, {"pool": "some_pool"}
    yield undeclared_connection, {"gcp_conn_id": "some_connection"}
    yield undeclared_connection, {"arguments": ["{{ conn.some_connection.host }}"]}
    yield undeclared_connection, {"arguments": late("{{ conn.get('some_connection').host }}")}
    yield undeclared_variable, {"env_vars": {"A": "{{ var.value.some_variable }}"}}
    yield undeclared_variable, {"env_vars": [V1EnvVar("A", value="{{ var.value.get('some_variable', 1) }}")]}
    yield undeclared_variable, {"cmds": ["{{ var.json.some_variable }}"]}
    yield undeclared_secret, {"secrets": [Secret("env", "A", secrets.RESTRICTED, "some_key")]}
    yield undeclared_secret, {"secrets": [Secret("env", "A", "some-secret", "docusign_jwt")]}
    yield undeclared_image, {"image": "some/image:1"}


@pytest.mark.parametrize(("rule", "differing"), breaches())
def test_what_is_not_declared_is_found(rule: Any, differing: dict[str, Any]) -> None:
    assert list(rule(breach())) == []
    assert len(list(rule(breach(**differing)))) == 1


def test_a_mapped_task_is_looked_at_too() -> None:
    from operators.gcp_container_operator import GKEPodOperator

    with DAG("d", schedule=None):
        mapped = GKEPodOperator.partial(task_id="m", image="some/image:1", gcp_conn_id="x").expand(
            arguments=[["{{ var.value.some_variable }}"]]
        )
    assert len(list(undeclared_image(mapped))) == 1
    assert len(list(undeclared_connection(mapped))) == 1
    assert len(list(undeclared_variable(mapped))) == 1


def test_nobody_is_mailed_about_a_dag_that_is_not_triaged(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        silent = Tag.Triage.no_triage in dag.tags
        mailed = {task.task_id for task in dag.tasks if ALERT_ADDRESS in (task.email or [])}
        assert not (silent and mailed), f"{dag.dag_id}: give default_args(triaged=False), it has the tag no_triage"


ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# Addresses of systems and teams; those of examples are reserved for examples (RFC 2606).
KNOWN_ADDRESSES = {
    *(team.alert_address for team in TEAMS.values()),
    DATAPROC.service_account,
    "airflow@workflow.telemetry.mozilla.org",
    "git@github.com",
}
WORKING_GROUP = re.compile(r"-wg@mozilla\.com$")
EXAMPLE = re.compile(r"@(?:[\w-]+\.)*(?:example(?:\.\w+)?|test|invalid|localhost)$")


def private_addresses(text: str) -> set[str]:
    found = {address.rstrip(".") for address in ADDRESS.findall(text)} - KNOWN_ADDRESSES
    return {address for address in found if not EXAMPLE.search(address) and not WORKING_GROUP.search(address)}


def test_no_private_address_stands_in_the_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert files
    found = {
        f"{path.relative_to(ROOT)}: {sorted(addresses)}"
        for path in files
        if path.suffix in {".py", ".md", ".yaml", ".yml", ".json", ".toml", ".cfg", ".sql", ".in", ""}
        and path.is_file()
        and (addresses := private_addresses(path.read_text(errors="replace")))
    }
    assert not found, "\n".join(sorted(found))


@pytest.mark.parametrize("name", ["someone", "a.b+c"])
def test_a_private_address_is_found(name: str) -> None:
    assert len(private_addresses(f"mail <{name}@mozilla.com>.")) == 1
