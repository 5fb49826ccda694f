"""``python -m wtmo``."""

from wtmo.cli import app

app(prog_name="wtmo")
