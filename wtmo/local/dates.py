"""Logical days as users type them."""

from __future__ import annotations

import datetime as dt

from wtmo.errors import WtmoError


def parse_date(text: str, *, today: dt.date | None = None) -> dt.date:
    """The day named by ``text``, written YYYY-MM-DD.

    :param today: the day from which to judge. Default: today, UTC.
    :raises WtmoError: when it isn't a date, or its data interval isn't over: Airflow makes a run only then. The
        interval of a daily run ends within the day after, so the day before yesterday is the last that is surely over.
    """
    try:
        date = dt.date.fromisoformat(text)
    except ValueError as error:
        raise WtmoError(f"{text!r} is not a date: {error}", fix="write it as YYYY-MM-DD, like 2026-06-01") from error
    today = today or dt.datetime.now(dt.UTC).date()
    last = today - dt.timedelta(days=2)
    if date > last:
        raise WtmoError(f"{date} is not over: its runs do not exist yet", fix=f"the last day that can be run is {last}")
    return date
