"""Run the container command given as arguments."""

from __future__ import annotations

import sys

from wtmo.local.bqetl.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
