"""States that imported DAGs name: a contract with their generator, so neither name nor value may change."""

from __future__ import annotations

ALLOWED_STATES = ["success"]
"""A sensor goes on when its target has one of these states."""

FAILED_STATES = ["failed", "upstream_failed", "skipped"]
"""A sensor fails at once, without waiting for its timeout, when its target has one of these states."""
