"""ZetaSQL, Google's open GoogleSQL analyser and evaluator, as WebAssembly instances in this process.

The ``zetasql`` wheel carries a WASI build. Compiling it costs about 20 CPU seconds, so the machine code is kept on disk
(:func:`compiled_module`). An instance serves one call at a time and releases the GIL meanwhile; each has an engine of
its own, so that a call can be interrupted without touching the others. Instances are made when first needed (0.1 s and
about 30 MB each).
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import platform
import queue
import re
import sys
import tempfile
import threading
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import wasmtime
from zetasql.wasi import get_wasm_path

from .protos import language as language_protos
from .protos import options, service

if TYPE_CHECKING:
    from google.protobuf.message import Message

log = logging.getLogger(__name__)
M = TypeVar("M", bound="Message")

MEMORY_LIMIT = 64 << 20
"""An instance whose linear memory (which never shrinks) has grown over this many bytes is replaced after the call."""

WASM_STACK = 2 << 20
"""Bytes of stack for the evaluator's own calls; it is taken from the calling thread's stack, which must be larger."""

THREAD_STACK = 16 << 20
"""Bytes of stack that a thread needs which calls the evaluator (``threading.stack_size``)."""

_NOT_BIGQUERY = (
    "FEATURE_TIMESTAMP_NANOS",
    "FEATURE_TIMESTAMP_PICOS",
    "FEATURE_ENABLE_MEASURES",
    "FEATURE_MAP_TYPE",
    "FEATURE_UUID_TYPE",
)
"""Language features that the evaluator has and BigQuery has not."""


class EvaluatorError(Exception):
    """The evaluator refused the call.

    :param code: canonical status code: 3 invalid argument, 5 not found, 11 out of range (a run-time error of the
        query), 12 unimplemented.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class EvaluatorCrash(Exception):
    """The instance trapped (a failed check or exhausted memory inside ZetaSQL); it was replaced."""


class Interrupted(Exception):
    """The call was ended by :meth:`Cancellation.cancel`."""


def cache_file() -> Path:
    """Where the compiled module belongs, shared by all who use this Python environment."""
    name = f"googlesql-{version('zetasql')}-{version('wasmtime')}-{platform.machine()}.cwasm"
    return Path(sys.prefix) / "share" / "wtmo" / name


def _candidates() -> list[Path]:
    file = cache_file()
    return [file, Path.home() / ".cache" / "wtmo" / file.name]


def compiled_module() -> Path:
    """The compiled module's file; compiles it first where there is none (about 20 CPU seconds, 1 GB of memory for that
    time).

    It is written beside its place and renamed, so two processes may do this at once. Where the environment's folder
    can't be written, ``~/.cache/wtmo`` takes it, and the log says so.
    """
    for file in _candidates():
        if file.exists() and _loads(file):
            return file
    log.info("compiling the GoogleSQL evaluator, once for this environment (about 20 CPU seconds)")
    code = wasmtime.Module.from_file(_engine(), str(get_wasm_path())).serialize()
    for file in _candidates():
        try:
            _write(file, bytes(code))
        except OSError as error:
            log.warning("can't write %s: %s", file, error)
        else:
            log.info("compiled to %s", file)
            return file
    raise OSError(f"no place for the compiled evaluator: tried {' and '.join(map(str, _candidates()))}")


def _engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.shared_memory = True
    config.epoch_interruption = True
    config.max_wasm_stack = WASM_STACK
    return wasmtime.Engine(config)


def _loads(file: Path) -> bool:
    """False for a file that another processor or another engine configuration wrote."""
    try:
        wasmtime.Module.deserialize_file(_engine(), str(file))
    except wasmtime.WasmtimeError as error:
        log.warning("%s can't be used and is made again: %s", file, error)
        return False
    return True


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class Evaluator:
    """One instance. Not thread-safe, but for :meth:`interrupt`."""

    def __init__(self, module: Path) -> None:
        self._engine = _engine()
        wasi = wasmtime.WasiConfig()
        wasi.inherit_stderr()
        wasi.preopen_dir(str(files("tzdata") / "zoneinfo"), "/usr/share/zoneinfo")
        self._store = wasmtime.Store(self._engine)
        self._store.set_wasi(wasi)
        self._store.set_epoch_deadline(1)
        linker = wasmtime.Linker(self._engine)
        linker.define_wasi()
        instance = linker.instantiate(self._store, wasmtime.Module.deserialize_file(self._engine, str(module)))
        self._exports = instance.exports(self._store)
        memory = self._exports["memory"]
        if not isinstance(memory, wasmtime.SharedMemory):
            raise TypeError("the zetasql wheel's memory is not shared, as this server expects")
        self._memory = memory
        self._run("_initialize")

    def call(self, rpc: str, request: bytes) -> bytes:
        """Make one call of ZetaSQL's local service with serialized messages.

        :raises EvaluatorError: what ZetaSQL says is wrong with the request.
        :raises wasmtime.Trap: the instance can't be used any more.
        """
        address = self._run("wasm_malloc", len(request) or 1)
        size_address = self._run("wasm_malloc", 4)
        if not address or not size_address:
            raise MemoryError("the evaluator's memory is exhausted")
        ctypes.memmove(self._base() + address, request, len(request))
        try:
            result = self._run(f"ZetaSqlLocalService_{rpc}", address, len(request), size_address)
            if not result:
                size = self._run("wasm_get_last_error_size")
                raise _error(self._read(self._run("wasm_get_last_error"), size).decode(errors="replace"))
            data = self._read(result, int.from_bytes(self._read(size_address, 4), "little"))
            self._run("wasm_free", result)
            return data
        finally:
            self._run("wasm_free", address)
            self._run("wasm_free", size_address)

    def interrupt(self) -> None:
        """End the running call, from another thread, with a trap."""
        self._engine.increment_epoch()

    @property
    def memory_size(self) -> int:
        """Bytes of linear memory."""
        return self._memory.data_len()

    def _run(self, export: str, *arguments: int) -> int:
        function = self._exports[export]
        if not isinstance(function, wasmtime.Func):
            raise TypeError(f"the zetasql wheel exports no function {export}")
        result: int = function(self._store, *arguments)
        return result

    def _base(self) -> int:
        return ctypes.addressof(self._memory.data_ptr().contents)

    def _read(self, address: int, size: int) -> bytes:
        return ctypes.string_at(self._base() + address, size)


def _error(text: str) -> EvaluatorError:
    match = re.match(r"Code: (\d+), Message: (.*)", text, re.DOTALL)
    return EvaluatorError(int(match[1]), match[2]) if match else EvaluatorError(13, text)


def give_memory_back() -> None:
    """Return what a large query has left free to the system; glibc would keep it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


class Cancellation:
    """Lets one thread end what another is evaluating."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._evaluator: Evaluator | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """End the call that is under way, and refuse those that follow."""
        with self._lock:
            self.cancelled = True
            if self._evaluator:
                self._evaluator.interrupt()

    def attach(self, evaluator: Evaluator | None) -> None:
        """Say which instance works for the holder (None: none does)."""
        with self._lock:
            if evaluator and self.cancelled:
                raise Interrupted
            self._evaluator = evaluator


class EvaluatorPool:
    """At most ``size`` instances, made when needed; a call waits for a free one."""

    def __init__(self, size: int = 2) -> None:
        self._free: queue.LifoQueue[Evaluator | None] = queue.LifoQueue()
        for _ in range(size):
            self._free.put(None)
        self._module: Path | None = None
        self._lock = threading.Lock()
        self._language: Any = None
        self._builtin: frozenset[str] | None = None

    def call(
        self, rpc: str, request: Message | bytes, response: type[M], cancellation: Cancellation | None = None
    ) -> M:
        """Make a call and parse its answer.

        :raises EvaluatorError: the request is wrong.
        :raises EvaluatorCrash: the instance trapped.
        :raises Interrupted: cancelled.
        """
        return response.FromString(self.call_raw(rpc, request, cancellation))

    def call_raw(self, rpc: str, request: Message | bytes, cancellation: Cancellation | None = None) -> bytes:
        """Like :meth:`call`, with the answer as bytes."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        cancellation = cancellation or Cancellation()
        evaluator = self._free.get()
        try:
            evaluator = evaluator or Evaluator(self._compiled())
            cancellation.attach(evaluator)
            answer = evaluator.call(rpc, data)
        except (wasmtime.Trap, wasmtime.WasmtimeError, MemoryError) as error:
            evaluator = None
            if cancellation.cancelled:
                raise Interrupted from error
            cause = str(error).strip().splitlines()[-1].strip()
            log.error("the evaluator trapped in %s and is replaced: %s", rpc, cause)
            if "stack exhausted" in cause:
                raise EvaluatorError(8, "Query is too complex: it nests too deeply") from error
            raise EvaluatorCrash(f"the GoogleSQL evaluator crashed in {rpc} ({cause}) and was restarted") from error
        finally:
            cancellation.attach(None)
            if evaluator and (cancellation.cancelled or evaluator.memory_size > MEMORY_LIMIT):
                evaluator = None
            self._free.put(evaluator)
        return answer

    def language(self) -> Any:
        """BigQuery's dialect: every feature of ZetaSQL's, external names, without what BigQuery lacks."""
        if self._language is None:
            request = service.LanguageOptionsRequest(maximum_features=True)
            language = self.call("GetLanguageOptions", request, options.LanguageOptionsProto)
            language.product_mode = language_protos.PRODUCT_EXTERNAL
            unwanted = {number for name, number in language_protos.LanguageFeature.items() if name in _NOT_BIGQUERY}
            kept = [feature for feature in language.enabled_language_features if feature not in unwanted]
            language.enabled_language_features[:] = kept
            del language.supported_statement_kinds[:]
            self._language = language
        return self._language

    def builtin_functions(self) -> frozenset[str]:
        """Lower-case names of ZetaSQL's own functions that have no dot."""
        if self._builtin is None:
            request = options.ZetaSQLBuiltinFunctionOptionsProto(language_options=self.language())
            answer = self.call("GetBuiltinFunctions", request, service.GetBuiltinFunctionsResponse)
            self._builtin = frozenset(f.name_path[0].lower() for f in answer.function if len(f.name_path) == 1)
        return self._builtin

    def _compiled(self) -> Path:
        with self._lock:
            if self._module is None:
                self._module = compiled_module()
            return self._module
