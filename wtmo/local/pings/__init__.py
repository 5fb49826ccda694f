"""Sample pings, and the loader that brings pings into the live tables of the local BigQuery.

A seeds folder holds ``<dataset>.<table>.ndjson``, one JSON object a row, each with ``<dataset>.<table>.schema.json``, a list
of BigQuery fields. ``python -m wtmo.local.pings generate|load`` makes and loads one.
"""

from wtmo.local.pings.generator import generate
from wtmo.local.pings.seeds import load_seeds

__all__ = ["generate", "load_seeds"]
