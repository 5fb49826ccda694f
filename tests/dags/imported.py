"""What hand-written DAGs wait for in DAGs of other repositories: see :mod:`wtmo.local.imported`, which a line is added to."""

from __future__ import annotations

from wtmo.local.imported import IMPORTED, WRONG_IN_PRODUCTION

__all__ = ["IMPORTED", "WRONG_IN_PRODUCTION"]
