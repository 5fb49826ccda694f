"""The layout's rules, read off the source: who imports whom, who reads the environment, what a DAG file may spell.

Each rule is a function from one source file to its violations; each message says what to type. The rules are tried
on violating samples too: a rule that cannot fail proves nothing.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from utils.config import CONNECTIONS, GKE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Rule = Callable[["Source"], Iterator[str]]

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "dags": {"operators", "utils"},
    "operators": {"operators", "utils"},
    "utils": {"utils"},
    "plugins": {"plugins", "utils", "wtmo"},
    "config": {"config", "utils", "wtmo"},
    "wtmo": {"operators", "utils", "wtmo"},
}
EXCEPTIONS = {"utils/gcp.py": {"operators"}}
READS_ENVIRONMENT = "utils/config.py"
HEADINGS = ("## Where the data comes from and goes", "## When it fails", "## How to re-run it")


@dataclass(frozen=True)
class Source:
    """A source file of the project. The sample's DAGs keep the rules of ``dags``."""

    path: str
    text: str

    @property
    def package(self) -> str:
        return "dags" if self.path.startswith("resources/sample/dags/") else self.path.split("/")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


def sources() -> list[Source]:
    folders = [*MAY_IMPORT, "resources/sample/dags"]
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [Source(path.relative_to(ROOT).as_posix(), path.read_text()) for path in files]


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and module of every import, also inside functions and ``if TYPE_CHECKING``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


def imports(source: Source) -> Iterator[str]:
    allowed = MAY_IMPORT[source.package] | EXCEPTIONS.get(source.path, set())
    for line, module in imported(source.tree):
        package = module.split(".")[0]
        if package in MAY_IMPORT and package not in allowed:
            yield (
                f"{source.path}:{line} imports {module}. {source.package} may import {sorted(allowed)}: "
                f"move what both need to utils/, or the code to where {package} may be used."
            )


def environment(source: Source) -> Iterator[str]:
    if source.path == READS_ENVIRONMENT:
        return
    for node in ast.walk(source.tree):
        names: set[str] = set()
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            names = {node.attr}
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            names = {alias.name for alias in node.names}
        for name in names & {"environ", "environb", "getenv", "getenvb", "putenv"}:
            yield (
                f"{source.path}:{node.lineno} uses os.{name}. Add a fact to {READS_ENVIRONMENT} and import it, "
                "or call utils.config.environment() to pass the environment on."
            )


SPELLED = {
    r"\b(?!git@github\.com:)[\w.+-]+@[\w-]+\.[\w.]+": "an e-mail address: default_args(owner=<team>) gives the alert address",
    r":latest\b": "an image's tag: use utils.images.image(<name>)",
    r"\b(?:[\w-]+-docker\.pkg\.dev|gcr\.io|docker\.io)\b": "a registry: use utils.images.image(<name>)",
    rf"\b{re.escape(GKE.project_id)}\b": "the pod cluster's project: leave it out",
    rf"\b{re.escape(GKE.cluster_name)}\b": "the pod cluster: leave it out",
    r"\bSecret\(": "a raw secret: use utils.secrets.pod_secrets(<group>, VARIABLE=<key>)",
    **{
        rf"(?<!CONNECTIONS\.)\b{re.escape(getattr(CONNECTIONS, connection.name))}\b": (
            f"a connection id: use utils.config.CONNECTIONS.{connection.name}, or leave it out"
        )
        for connection in fields(CONNECTIONS)
    },
}


def spelling(source: Source) -> Iterator[str]:
    if not source.path.startswith("dags/"):
        return  # Generated files, and the sample in their shape, spell everything out.
    for number, line in enumerate(source.text.splitlines(), start=1):
        for pattern, advice in SPELLED.items():
            if found := re.search(pattern, line):
                yield f"{source.path}:{number} spells {found[0]!r}, {advice}."


def documentation(source: Source) -> Iterator[str]:
    if not source.path.startswith("dags/"):
        return
    doc = ast.get_docstring(source.tree) or ""
    first, _, rest = doc.partition("\n")
    if not first.endswith(".") or rest[:1] not in {"", "\n"}:
        yield f"{source.path}:1 begin the docstring with one line, a sentence: what the DAG does. The catalogue shows it."
    at = [doc.find(heading) for heading in HEADINGS]
    if -1 in at or at != sorted(at):
        yield f"{source.path}:1 give the docstring these headings, in this order: {', '.join(HEADINGS)}."
    if "doc_md=__doc__" not in source.text:
        yield f"{source.path}:1 give the DAG doc_md=__doc__."


RULES: list[Rule] = [imports, environment, spelling, documentation]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps_the_rule(rule: Rule) -> None:
    found = [violation for source in sources() for violation in rule(source)]
    assert not found, "\n".join(found)


def test_there_is_something_to_look_at() -> None:
    packages = {source.package for source in sources()}
    assert {"dags", "operators", "utils", "wtmo", "config"} <= packages


SOUND_DAG = '''"""Does it.

{}
"""
from utils.defaults import default_args
DAG("d", doc_md=__doc__)
'''.format("\n".join(HEADINGS))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (imports, "dags/etl/d.py", "import wtmo.graph"),
        (imports, "dags/etl/d.py", "from plugins.menu import x"),
        (imports, "resources/sample/dags/d.py", "from wtmo import x"),
        (imports, "operators/o.py", "def f():\n    from wtmo import x"),
        (imports, "operators/o.py", "from dags.etl import copy_deduplicate"),
        (imports, "utils/u.py", "if TYPE_CHECKING:\n    from operators.fivetran import x"),
        (imports, "utils/gcp.py", "from wtmo import x"),
        (imports, "plugins/p.py", "import operators.fivetran"),
        (imports, "config/c.py", "import operators"),
        (imports, "wtmo/w.py", "import dags.etl.copy_deduplicate"),
        (imports, "wtmo/w.py", "from plugins import menu"),
        (environment, "wtmo/w.py", "import os\nos.environ['A']"),
        (environment, "operators/o.py", "import os\nx = os.getenv('A')"),
        (environment, "dags/etl/d.py", "from os import environ as e"),
        (spelling, "dags/etl/d.py", "email = ['someone@example.com']"),
        (spelling, "dags/etl/d.py", "image = 'some/image:latest'"),
        (spelling, "dags/etl/d.py", "image = 'gcr.io/project/image'"),
        (spelling, "dags/etl/d.py", "image = 'us-docker.pkg.dev/project/image'"),
        (spelling, "dags/etl/d.py", f"project = '{GKE.project_id}'"),
        (spelling, "dags/etl/d.py", f"cluster = '{GKE.cluster_name}'"),
        (spelling, "dags/etl/d.py", f"conn = '{CONNECTIONS.gke}'"),
        (spelling, "dags/etl/d.py", f"conn = '{CONNECTIONS.fivetran}'"),
        (spelling, "dags/etl/d.py", "host = '{{ conn.adm_sftp.host }}'"),
        (spelling, "dags/etl/d.py", "secrets = [Secret('env', 'A', 'b', 'c')]"),
        (
            documentation,
            "dags/etl/d.py",
            f'"""Does it.\n\n{HEADINGS[2]}\n{HEADINGS[1]}\n{HEADINGS[0]}\n"""\nDAG(doc_md=__doc__)',
        ),
        (documentation, "dags/etl/d.py", SOUND_DAG.replace("Does it.", "Does it")),
        (documentation, "dags/etl/d.py", SOUND_DAG.replace(HEADINGS[1], "")),
        (documentation, "dags/etl/d.py", SOUND_DAG.replace("doc_md=__doc__", "")),
    ],
)
def test_a_violation_is_found(rule: Rule, path: str, text: str) -> None:
    found = list(rule(Source(path, text)))
    assert len(found) == 1
    assert found[0].startswith(f"{path}:"), "the message names file and line"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("dags/etl/d.py", SOUND_DAG),
        ("dags/etl/d.py", SOUND_DAG + "url = 'git@github.com:mozilla/some.git'\nCONNECTIONS.dbt_cloud"),
        ("utils/gcp.py", "from operators.gcp_container_operator import GKEPodOperator"),
        ("utils/config.py", "import os\nos.environ"),
        ("wtmo/w.py", "from operators import x\nfrom utils import y\nfrom . import z\nimport os\nos.path"),
        ("resources/sample/dags/d.py", "email = ['someone@example.com']"),
    ],
)
def test_what_is_allowed(path: str, text: str) -> None:
    assert [violation for rule in RULES for violation in rule(Source(path, text))] == []
