"""The settings that every deployment shares."""

from __future__ import annotations

import configparser

import pytest

from utils.config import ROOT

SETTINGS = configparser.ConfigParser(interpolation=None)
SETTINGS.read(ROOT / "config" / "airflow.cfg")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("scheduler", "create_cron_data_intervals", "True"),
        ("scheduler", "create_delta_data_intervals", "True"),
        ("core", "rerun_with_latest_version", "True"),
        ("core", "dags_are_paused_at_creation", "True"),
        ("core", "load_examples", "False"),
        ("dag_processor", "dag_version_inflation_check_level", "error"),
    ],
)
def test_what_the_platform_depends_on_is_set(section: str, key: str, value: str) -> None:
    assert SETTINGS[section][key] == value


def test_airflow_knows_every_setting() -> None:
    from airflow.configuration import conf

    known = conf.configuration_description
    for section in SETTINGS.sections():
        for key in SETTINGS[section]:
            assert section in known, f"Airflow has no section [{section}]"
            assert key in known[section]["options"], f"Airflow has no setting [{section}] {key}"


def test_the_mail_templates_render_a_readable_subject_and_body() -> None:
    from types import SimpleNamespace

    from jinja2 import Environment, StrictUndefined

    ti = SimpleNamespace(dag_id="copy_deduplicate", task_id="event_events", log_url="http://localhost:8080/log")
    context = {
        "ti": ti,
        "ds": "2026-06-01",
        "run_id": "scheduled__2026-06-02T01:00:00+00:00",
        "try_number": 3,
        "max_tries": 2,
        "task": SimpleNamespace(owner="data-platform"),
        "dag": SimpleNamespace(tags={"impact/tier_1"}),
        "exception_html": "line 1<br>&lt;b&gt;",
    }
    render = Environment(undefined=StrictUndefined, autoescape=False).from_string
    folder = ROOT / "config" / "email"
    subject = render((folder / "subject.jinja2").read_text()).render(context)
    assert subject == "[airflow] copy_deduplicate.event_events failed (2026-06-01)"
    retried = render((folder / "subject.jinja2").read_text()).render(context | {"try_number": 1})
    assert "will be retried" in retried
    body = render((folder / "body.jinja2").read_text()).render(context)
    assert "line 1\n&lt;b&gt;" in body
    assert "data-platform" in body
    without_date = {key: value for key, value in context.items() if key != "ds"}
    assert "copy_deduplicate" in render((folder / "subject.jinja2").read_text()).render(without_date)
