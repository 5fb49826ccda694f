"""Rules for every test: no network; loopback only where a test says so."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``loopback`` and ``platform`` tests may talk to 127.0.0.1 and nothing else."""
    for item in items:
        if item.get_closest_marker("loopback") or item.get_closest_marker("platform"):
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"]))
