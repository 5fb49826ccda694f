"""``docs/DAGS.md`` is what the DAGs say, and ``wtmo images`` tells which images can change by themselves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import DAG

from operators.external_task import mark, wait_for
from operators.gcp_container_operator import GKEPodOperator
from tests.described import described
from utils import images as declared
from utils.defaults import default_args
from utils.images import Image, image
from utils.tags import Tag
from wtmo.docs import catalogue, images
from wtmo.errors import WtmoError
from wtmo.graph import loading

if TYPE_CHECKING:
    from wtmo.graph.model import Dag

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dags"


def page_of(*dags: DAG) -> str:
    return catalogue.catalogue(described(dags, FOLDER))


def block(page: str, dag_id: str) -> str:
    """What the page says of one DAG."""
    return re.split(r"^##", page.partition(f"\n### {dag_id}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def dag(
    dag_id: str,
    *,
    schedule: str | None = "0 5 * * *",
    failure: str = "Wait.",
    file: str = "etl/some.py",
    **differing: Any,
) -> DAG:
    """A DAG with a page; give it its tasks with ``with``."""
    page = f"Do {dag_id}.\n\n## Where the data comes from and goes\n\nNowhere.\n\n## When it fails\n\n{failure}\n"
    options: dict[str, Any] = {
        "doc_md": f"{page}\n## How to re-run it\n\nClear it.\n",
        "start_date": datetime(2026, 1, 1),
        "tags": [Tag.ImpactTier.tier_2],
        "default_args": default_args(owner="ads"),
    }
    made = DAG(dag_id, schedule=schedule, **options | differing)
    made.fileloc = str(FOLDER / file)
    return made


@pytest.fixture(scope="module")
def ours() -> dict[str, Dag]:
    """The DAGs of this repository, without the sample's."""
    return loading.own_dags()


def test_the_page_is_what_the_dags_say(ours: dict[str, Dag]) -> None:
    made = catalogue.catalogue(ours)
    assert catalogue.PAGE.read_text() == made, "docs/DAGS.md is not what the DAGs say: make docs"


def test_every_dag_is_on_the_page(dags: dict[str, DAG]) -> None:
    page = catalogue.PAGE.read_text()
    ours = [dag_id for dag_id, found in dags.items() if Path(found.fileloc).is_relative_to(FOLDER)]
    assert ours
    for dag_id in ours:
        assert f"\n| [{dag_id}](#" in page
        assert "- When it fails: " in block(page, dag_id)


def test_the_order_of_files_does_not_matter(ours: dict[str, Dag]) -> None:
    reverse = catalogue.catalogue(dict(reversed(ours.items())))
    assert reverse == catalogue.catalogue(ours)


def test_what_the_page_says_of_a_dag() -> None:
    with dag("some_dag", failure="Tell them.\n\n- first\n- second", file="collection/some_dag.py") as some:
        EmptyOperator(task_id="t")
    page = page_of(some)
    assert "| [some_dag](#some_dag) | ads | 2 | `0 5 * * *` (at 05:00) |" in page
    assert "\n## Collection\n\n### some_dag\n" in page
    assert block(page, "some_dag").strip().splitlines() == [
        "Do some_dag.",
        "",
        "- ads, tier 2, `0 5 * * *` (at 05:00). First looked at by the team itself.",
        "- File: [`dags/collection/some_dag.py`](../dags/collection/some_dag.py)",
        "- When it fails: Tell them.",
        "",
        "  - first",
        "  - second",
    ]


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        (Tag.Triage.no_triage, "Not triaged: failures are the team's business alone."),
        (Tag.Triage.record_only, "Failures are only written down."),
        (Tag.Triage.confidential, "First looked at by the team itself; bugs about it are confidential."),
    ],
)
def test_who_looks_at_a_failure(tag: Tag.Triage, says: str) -> None:
    with dag("some_dag", tags=[Tag.ImpactTier.tier_1, tag]) as some:
        EmptyOperator(task_id="t")
    assert f"tier 1, `0 5 * * *` (at 05:00). {says}\n" in page_of(some)


def test_a_dag_without_schedule_is_started_by_hand() -> None:
    with dag("some_dag", schedule=None) as some:
        EmptyOperator(task_id="t")
    assert "ads, tier 2, by hand." in page_of(some)


def test_who_waits_for_whom() -> None:
    with dag("first", file="etl/a.py") as first:
        loaded = EmptyOperator(task_id="loaded")
        EmptyOperator(task_id="checked")
        mark(loaded, {"bqetl_theirs": "wait_for_loaded"})
    with dag("second", file="etl/b.py") as second:
        wait_for("first", "loaded")
        wait_for("first", "checked")
        wait_for("bqetl_search", None, delta=timedelta(days=1, hours=2, minutes=30))
        wait_for("bqetl_late", "t", delta=timedelta(hours=-1))
        ExternalTaskSensor(task_id="group", external_dag_id="bqetl_groups", external_task_group_id="g")
        ExternalTaskSensor(
            task_id="month", external_dag_id="bqetl_month", execution_date_fn=lambda date: date.replace(day=1)
        )
        TriggerDagRunOperator(task_id="go_on", trigger_dag_id="third")
    with dag("third", file="etl/c.py", schedule=None) as third:
        EmptyOperator(task_id="t")
    page = page_of(first, second, third)
    assert "- Waited for by: `bqetl_theirs`, [second](#second)\n" in block(page, "first")
    assert (
        "- Waits for: `bqetl_groups` (`g`); `bqetl_late` (`t`, the run 1 h later); "
        "`bqetl_month` (not the same shift for each run); `bqetl_search` (the run 1 d 2 h 30 min earlier); "
        "[first](#first) (`checked`, `loaded`)\n"
    ) in block(page, "second")
    assert "- Starts: [third](#third)\n" in block(page, "second")
    assert "- Started by: [second](#second)\n" in block(page, "third")
    assert "Wait" not in block(page, "third").replace("Wait.", "")


def test_dags_of_one_page_tell_it_once() -> None:
    with dag("family_a", file="etl/family.py") as first:
        EmptyOperator(task_id="t")
    with dag("family_b", file="etl/family.py", doc_md=first.doc_md) as second:
        EmptyOperator(task_id="t")
    with dag("family_c", file="etl/family.py") as third:
        EmptyOperator(task_id="t")
    page = page_of(third, second, first)
    assert page.count("Do family_a.") == 1
    assert "- When it fails: as [family_a](#family_a).\n" in block(page, "family_b")
    assert "Do family_c." in block(page, "family_c")


@pytest.mark.parametrize("doc", [None, "Do it.", "Do it.\n\n## When it fails\n\n## How to re-run it\n\nClear it."])
def test_a_dag_that_does_not_say_what_to_do_is_refused(doc: str | None) -> None:
    with pytest.raises(WtmoError, match=r"some_dag does not say what to do .*\(dags/etl/some\.py\)"):
        page_of(dag("some_dag", doc_md=doc))


def test_the_page_is_written_once(tmp_path: Path) -> None:
    with dag("some_dag") as some:
        EmptyOperator(task_id="t")
    page = tmp_path / "DAGS.md"
    facts = described([some], FOLDER)
    assert catalogue.write(facts, page=page) == (page, True)
    assert page.read_text() == page_of(some)
    assert catalogue.write(facts, page=page) == (page, False)


# --- images


@pytest.fixture
def two_images(monkeypatch: pytest.MonkeyPatch) -> None:
    known = (
        Image("floats", "r.example/floats", "https://code.example"),
        Image("pinned", "r.example/pinned", None, "1.2"),
    )
    monkeypatch.setattr(declared, "IMAGES", {one.name: one for one in known})
    monkeypatch.setattr(images, "IMAGES", declared.IMAGES)


def pods(dag_id: str, tier: Tag.ImpactTier, *references: str) -> DAG:
    with dag(dag_id, tags=[tier]) as made:
        for number, reference in enumerate(references):
            GKEPodOperator(task_id=f"t{number}", image=reference)
    return made


@pytest.mark.usefixtures("two_images")
def test_images_of_tier_1_that_float_come_first() -> None:
    first = pods("first", Tag.ImpactTier.tier_1, image("pinned"), image("floats"))
    with dag("third", tags=[Tag.ImpactTier.tier_3]) as third:
        GKEPodOperator.partial(task_id="mapped", image=image("floats")).expand(arguments=[["a"]])
    facts = described([third, first], FOLDER).values()
    found = images.uses(facts)
    assert [(use.image, use.pin, use.floats, use.tier, use.dags) for use in found] == [
        ("floats", "latest", True, 1, ("first", "third")),
        ("pinned", "1.2", False, 1, ("first",)),
    ]
    assert found[0].source == "https://code.example"
    assert [use.dags for use in images.uses(facts, tier=3)] == [("third",), ()]
    page = page_of(first, third)
    assert "| `floats` | <https://code.example> | `latest` | first |\n" in page
    assert "| `pinned`" not in page


@pytest.mark.usefixtures("two_images")
@pytest.mark.parametrize(
    ("reference", "pin", "floats"),
    [
        ("r.example/pinned:stable", "stable", True),
        ("r.example/floats:2026.1", "2026.1", False),
        (f"r.example/floats@sha256:{'a1' * 32}", f"sha256:{'a1' * 32}", False),
        ("r.example/floats:{{ var.value.release }}", "{{ var.value.release }}", False),
        ("elsewhere.example/x", "", True),
    ],
)
def test_what_a_task_pulls_is_what_counts(reference: str, pin: str, floats: bool) -> None:
    facts = described([pods("some", Tag.ImpactTier.tier_2, reference)], FOLDER).values()
    found = [use for use in images.uses(facts) if use.dags]
    assert [(use.pin, use.floats) for use in found] == [(pin, floats)]


@pytest.mark.usefixtures("two_images")
def test_no_image_of_tier_1_floats() -> None:
    assert page_of(pods("some", Tag.ImpactTier.tier_1, image("pinned"))).endswith("`wtmo images` lists all.\n\nNone.\n")


# --- loading, and the commands


def test_a_file_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("from airflow.sdk import DAG\n1 / 0\n")
    (tmp_path / "other.py").write_text("import no_such_module_at_all\nfrom airflow.sdk import DAG\n")
    says = r"(?s)broken\.py does not load \(and 1 more files\).*ZeroDivisionError"
    with pytest.raises(WtmoError, match=says):
        loading.load_dags(tmp_path)
    with pytest.raises(WtmoError, match=says):
        loading.own_dags(tmp_path, cache=None)


def test_a_rule_that_is_broken_is_an_error_where_airflow_loads(tmp_path: Path) -> None:
    (tmp_path / "untagged.py").write_text(
        "from airflow.sdk import DAG\nfrom airflow.providers.standard.operators.empty import EmptyOperator\n"
        "with DAG('untagged', schedule=None):\n    EmptyOperator(task_id='t', owner='ads')\n"
    )
    with pytest.raises(WtmoError, match="exactly one impact tag"):
        loading.load_dags(tmp_path)
    assert list(loading.own_dags(tmp_path, cache=None)) == ["untagged"], "wtmo check tells of it"


def test_two_files_with_one_dag_are_an_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(
            "from airflow.sdk import DAG\nfrom airflow.providers.standard.operators.empty import EmptyOperator\n"
            "with DAG('same', schedule=None, tags=['impact/tier_3']):\n    EmptyOperator(task_id='t', owner='ads')\n"
        )
    with pytest.raises(WtmoError, match=r"2 files have a DAG same: telemetry-airflow:a\.py, telemetry-airflow:b\.py"):
        loading.own_dags(tmp_path, cache=None)


def test_a_folder_without_dags_is_an_error(tmp_path: Path) -> None:
    for load in (loading.load_dags, loading.own_dags):
        with pytest.raises(WtmoError, match="there is no DAG"):
            load(tmp_path)


def test_nothing_of_the_user_changes_what_dags_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WTMO_QUERY_ENGINE", "AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW_VAR_X", "BIGQUERY_EMULATOR_HOST"):
        monkeypatch.setenv(name, "native")
    made = loading.settings(tmp_path)
    assert "native" not in made.values()
    assert made["AIRFLOW_HOME"] == str(tmp_path)


def test_the_command_lists_images() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wtmo", "images", "--floating", "--tier", "1", "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found
    assert {(use["floats"], use["tier"]) for use in found} == {(True, 1)}
    assert "copy_deduplicate" in next(use["dags"] for use in found if use["image"] == "private-bigquery-etl")
