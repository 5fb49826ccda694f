"""Messages about names that nothing answers to."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known names nearest to ``name``, as a sentence; all of them when none is near.

    >>> did_you_mean("emails", ["email", "owner", "retries"])
    "Did you mean 'email'?"
    >>> did_you_mean("x", ["b", "a"])
    "Known: 'a', 'b'."
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3)
    quoted = [repr(choice) for choice in near or choices]
    return f"Did you mean {' or '.join(quoted)}?" if near else f"Known: {', '.join(quoted)}."
