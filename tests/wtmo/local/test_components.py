"""What the processes of the local platform are started with."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from utils.secrets import DECLARED
from wtmo.local import components
from wtmo.local.airflow import Ports
from wtmo.local.state import State

if TYPE_CHECKING:
    import pytest


def test_pods_get_a_value_for_every_declared_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file that only its owner reads; a key that was declared since is in it after the next start."""
    monkeypatch.setattr(components.gcs, "command", lambda *_: [])
    state = State(tmp_path)
    state.folder("secrets")
    (tmp_path / "secrets" / "pods.json").write_text("{}")
    ports = Ports(*range(1, 1 + len(Ports.__dataclass_fields__)))
    services = {service.name: service for service in components.stand_ins(state, ports, {}, components.Supplies())}
    argv = services["pods"].argv
    file = Path(argv[argv.index("--secrets") + 1])
    values = json.loads(file.read_text())
    assert {secret: set(keys) for secret, keys in values.items()} == {
        secret: set(keys) for secret, keys in DECLARED.items()
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not any(value in argv for keys in values.values() for value in keys.values())


def test_pods_and_bigquery_read_the_same_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components.gcs, "command", lambda *_: [])
    state = State(tmp_path)
    state.folder("secrets")
    ports = Ports(*range(1, 1 + len(Ports.__dataclass_fields__)))
    supplies = components.Supplies(tmp_path / "checkout")
    services = {service.name: service for service in components.stand_ins(state, ports, {}, supplies)}
    argv = services["bigquery"].argv
    assert argv[argv.index("--checkout") + 1] == str(tmp_path / "checkout")
    images = json.loads((tmp_path / "image-environment.json").read_text())
    assert images["BQETL_CHECKOUT"] == str(tmp_path / "checkout")
