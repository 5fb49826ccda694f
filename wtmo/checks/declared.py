"""Rules of what tasks use and somebody must have set up: secrets, connections, variables, pools, images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils import connections, secrets
from utils.images import IMAGES
from utils.names import did_you_mean
from utils.pools import POOLS
from utils.variables import VARIABLES
from wtmo.checks.rule import Finding, Look, of_task, rule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

DEFAULT_POOL = "default_pool"
"""Airflow's own pool; how many slots it has is a setting of the deployment."""

_POOLS = {DEFAULT_POOL, *(pool.name for pool in POOLS)}


def _near(name: str, known: Collection[str]) -> str:
    """The near names as a sentence with a blank behind it. Nothing where none is near: the list is long."""
    said = did_you_mean(name, known)
    return f"{said} " if said.startswith("Did") else ""


@rule(
    "DEC001",
    "A pod that names a secret or a key which does not exist never starts.",
    fix="Declare it in utils/secrets.py, with what it is for.",
)
def secret(look: Look) -> Iterator[Finding]:
    """Kubernetes secrets and their keys are declared in ``utils/secrets.py``."""
    for dag, task in look.tasks():
        for used in task.secrets:
            keys = secrets.DECLARED.get(used.secret)
            if keys is None:
                yield of_task(
                    dag,
                    task,
                    f"uses the Kubernetes secret {used.secret!r}, which is not declared",
                    fix=f"{did_you_mean(used.secret, secrets.DECLARED)} A new one is an entry of DECLARED in "
                    "utils/secrets.py.",
                )
            elif used.key is not None and used.key not in keys:
                yield of_task(
                    dag,
                    task,
                    f"uses the key {used.key!r} of the Kubernetes secret {used.secret}, which is not declared",
                    fix=f"{_near(used.key, keys)}A new one is a line in utils/secrets.py that says what it is for.",
                )


@rule(
    "DEC002",
    "A task that names a connection which does not exist fails when it runs.",
    fix="Declare it in utils/connections.py, with what it is for.",
)
def connection(look: Look) -> Iterator[Finding]:
    """Airflow connections, as arguments of operators or in templates, are declared in ``utils/connections.py``."""
    for dag, task in look.tasks():
        for name in task.connections:
            if name not in connections.DECLARED:
                yield of_task(
                    dag,
                    task,
                    f"uses the connection {name!r}, which is not declared",
                    fix=f"{_near(name, connections.DECLARED)}A new one is an entry in utils/connections.py.",
                )


@rule(
    "DEC003",
    "A template that reads a variable which does not exist fails when the task runs.",
    fix="Declare it in utils/variables.py, with what it is for.",
)
def variable(look: Look) -> Iterator[Finding]:
    """Airflow variables that templates read are declared in ``utils/variables.py``."""
    for dag, task in look.tasks():
        for name in task.variables:
            if name not in VARIABLES:
                yield of_task(
                    dag,
                    task,
                    f"reads the variable {name!r}, which is not declared",
                    fix=f"{_near(name, VARIABLES)}A new one is a line in utils/variables.py.",
                )


@rule(
    "DEC004",
    "A task of a pool that does not exist is never scheduled, and says so nowhere but in the scheduler's log.",
    fix="Declare it in utils/pools.py.",
)
def pool(look: Look) -> Iterator[Finding]:
    """Pools are declared in ``utils/pools.py``."""
    for dag, task in look.tasks():
        name = task.attributes.get("pool") or DEFAULT_POOL
        if name not in _POOLS:
            yield of_task(
                dag,
                task,
                f"runs in the pool {name!r}, which is not declared",
                fix=f"{did_you_mean(name, _POOLS)} A new one is an entry of POOLS in utils/pools.py.",
            )


@rule(
    "DEC005",
    "An image that nobody has declared is one that nobody knows the source of, or a misspelt one that can't be pulled.",
    fix='Declare it in utils/images.py and name it: image("<name>").',
)
def image(look: Look) -> Iterator[Finding]:
    """Images of pods are declared in ``utils/images.py``."""
    for dag, task in look.tasks():
        declared, reference = task.image or ("", "")
        if declared is None:
            near = did_you_mean(reference.partition("@")[0], [each.reference for each in IMAGES.values()])
            yield of_task(
                dag,
                task,
                f"runs the image {reference!r}, which is not declared",
                fix=f"{near + ' ' if near.startswith('Did') else ''}A new one is a line in utils/images.py; "
                'DAGs name it: image("<name>").',
            )
