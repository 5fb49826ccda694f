from __future__ import annotations

import datetime as dt

import pytest

from wtmo.errors import WtmoError
from wtmo.local.dates import parse_date

TODAY = dt.date(2026, 6, 10)


def test_a_day_that_is_over_is_taken() -> None:
    assert parse_date("2026-06-08", today=TODAY) == dt.date(2026, 6, 8)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-06-31", "2026-06-01; rm -rf /", "01.06.2026"])
def test_what_is_no_date_is_named_with_the_form_to_type(text: str) -> None:
    with pytest.raises(WtmoError, match="is not a date") as refused:
        parse_date(text, today=TODAY)
    assert "YYYY-MM-DD" in (refused.value.fix or "")


@pytest.mark.parametrize("text", ["2026-06-09", "2026-06-10", "2027-01-01"])
def test_a_day_whose_runs_do_not_exist_yet_is_refused_with_the_last_that_do(text: str) -> None:
    with pytest.raises(WtmoError, match="is not over") as refused:
        parse_date(text, today=TODAY)
    assert "2026-06-08" in (refused.value.fix or "")
