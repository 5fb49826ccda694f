"""The one error that a person is meant to read. It lives in ``utils``, which raises it too."""

from __future__ import annotations

from utils.errors import WtmoError

__all__ = ["WtmoError"]
