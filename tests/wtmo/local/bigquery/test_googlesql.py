"""The evaluator's instances: crashes, interruption, the compiled module."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from wtmo.local.bigquery import googlesql
from wtmo.local.bigquery.errors import BigQueryError
from wtmo.local.bigquery.googlesql import Cancellation, EvaluatorCrash, EvaluatorError, EvaluatorPool, Interrupted
from wtmo.local.bigquery.protos import catalog, functions, options, service, signatures

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Engine


def evaluate(pool: EvaluatorPool, sql: str, cancellation: Cancellation | None = None) -> int:
    request = service.EvaluateQueryRequest(sql=sql, simple_catalog=catalog.SimpleCatalogProto(name="c"))
    request.options.CopyFrom(options.AnalyzerOptionsProto(default_timezone="UTC"))
    request.options.language_options.CopyFrom(pool.language())
    request.simple_catalog.builtin_function_options.language_options.CopyFrom(pool.language())
    answer = pool.call("EvaluateQuery", request, service.EvaluateQueryResponse, cancellation)
    return int(answer.content.table_data.row[0].cell[0].int64_value)


def test_an_instance_that_crashed_is_replaced() -> None:
    pool = EvaluatorPool(1)
    doubled = service.EvaluateQueryRequest(sql="SELECT 1", simple_catalog=catalog.SimpleCatalogProto(name="c"))
    doubled.simple_catalog.builtin_function_options.language_options.CopyFrom(pool.language())
    # A second function ABS: a failed check in ZetaSQL, which aborts.
    function = doubled.simple_catalog.custom_function.add(name_path=["abs"], group="Templated_SQL_Function", mode=1)
    anything = functions.FunctionArgumentTypeProto(kind=signatures.ARG_TYPE_ARBITRARY, num_occurrences=1)
    function.signature.add(return_type=anything)
    function.parse_resume_location.input = "1"
    with pytest.raises(EvaluatorCrash, match="crashed in EvaluateQuery"):
        pool.call("EvaluateQuery", doubled, service.EvaluateQueryResponse)
    assert evaluate(pool, "SELECT 7") == 7


def test_an_error_leaves_the_instance_usable(pool: EvaluatorPool) -> None:
    with pytest.raises(EvaluatorError, match="division by zero") as caught:
        evaluate(pool, "SELECT CAST(1/0 AS INT64)")
    assert caught.value.code == 11
    assert evaluate(pool, "SELECT 8") == 8


def test_only_the_cancelled_call_is_interrupted() -> None:
    pool = EvaluatorPool(2)
    endless = "SELECT COUNT(*) FROM " + ", ".join(["UNNEST(GENERATE_ARRAY(1, 10000))"] * 4)
    cancellation = Cancellation()
    timer = threading.Timer(0.5, cancellation.cancel)
    timer.start()
    others: list[int] = []
    other = threading.Thread(target=lambda: others.extend(evaluate(pool, "SELECT 9") for _ in range(5)))
    other.start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        evaluate(pool, endless, cancellation)
    assert time.monotonic() - started < 10
    other.join(20)
    assert others == [9] * 5
    with pytest.raises(Interrupted):
        evaluate(pool, "SELECT 1", cancellation)
    assert evaluate(pool, "SELECT 10") == 10


def test_deep_nesting_is_an_error_of_the_query(engine: Engine) -> None:
    with pytest.raises(BigQueryError, match="too complex") as caught:
        engine.rows("SELECT " + "+".join(["1"] * 3_000))
    assert caught.value.reason == "invalidQuery"
    assert engine.rows("SELECT 1") == [("1",)]


def test_a_folder_that_cannot_be_written_falls_back_to_the_home_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = googlesql.compiled_module().read_bytes()
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setattr(googlesql, "cache_file", lambda: blocked / "share" / "g.cwasm")
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path / "home")
    monkeypatch.setattr(googlesql.wasmtime.Module, "from_file", lambda *_: _Compiled(code))
    file = googlesql.compiled_module()
    assert file == tmp_path / "home" / ".cache" / "wtmo" / "g.cwasm"
    assert "can't write" in caplog.text
    assert googlesql.compiled_module() == file


def test_a_damaged_cache_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = googlesql.compiled_module().read_bytes()
    damaged = tmp_path / "g.cwasm"
    damaged.write_bytes(b"not a module")
    monkeypatch.setattr(googlesql, "cache_file", lambda: damaged)
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path / "home")
    monkeypatch.setattr(googlesql.wasmtime.Module, "from_file", lambda *_: _Compiled(code))
    assert googlesql.compiled_module() == damaged
    assert damaged.stat().st_size == len(code)
    assert [entry.name for entry in tmp_path.iterdir()] == ["g.cwasm"]


class _Compiled:
    """Stands for 20 seconds of compiling."""

    def __init__(self, code: bytes) -> None:
        self._code = code

    def serialize(self) -> bytes:
        return self._code
