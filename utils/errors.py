"""The one error that a person is meant to read."""

from __future__ import annotations


class WtmoError(Exception):
    """Something the user can put right.

    :param what: what is wrong and where, in one or two sentences.
    :param fix: what to type or change. Default: nothing.
    """

    def __init__(self, what: str, *, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\n  {self.fix}" if self.fix else self.what
