"""The verdict on a file: translated, then loaded in the sandbox, each remembered by everything that it depends on.

Nothing of Airflow and no parser is imported here: with all verdicts known, an import costs no start of anything.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from utils.config import ROOT
from wtmo.imports.plan import Change, Problem, Verdict, retire
from wtmo.imports.translating import Translated, translate_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from wtmo.cache import Cache
    from wtmo.imports.compare import Difference
    from wtmo.imports.plan import Item
    from wtmo.imports.sandbox import Candidate, Loaded, Refused, Sandbox

# A file's verdict can change when one of these does. The lock names the versions of Airflow, its providers and the parser.
SHARED = ("operators", "utils", "config", "config/airflow.cfg", "wtmo/imports", "requirements.txt")
HAND_WRITTEN = ROOT / "dags"

_DAG = re.compile(r"""\bDAG\(\s*(?:dag_id\s*=\s*)?(["'])([\w.-]+)\1""")


class Report(Protocol):
    """Told what goes on: a line, and how many of how many files of this step are done, when it counts files."""

    def __call__(self, line: str, done: int = 0, total: int = 0) -> None:
        """Show it."""
        ...


def no_report(line: str, done: int = 0, total: int = 0) -> None:
    """Show nothing."""


class Loader(Protocol):
    """Loads translated files where they can do no harm."""

    def __enter__(self) -> Self:
        """Make ready. Cheap: what costs is done at the first load."""
        ...

    def __exit__(self, *error: object) -> None:
        """End every process."""
        ...

    def load(self, candidates: Sequence[Candidate]) -> Iterator[Loaded | Refused]:
        """Load files, no two of one name; one answer each."""
        ...


class SandboxLoader:
    """The sandbox, imported when there is something to load. Keeps what it loaded, for who compares it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.sandbox: Sandbox | None = None
        self.loaded: dict[str, Loaded] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def load(self, candidates: Sequence[Candidate]) -> Iterator[Loaded | Refused]:
        """See :class:`Loader`."""
        from wtmo.imports.sandbox import Loaded, Sandbox

        if self.sandbox is None:
            self.sandbox = self._stack.enter_context(Sandbox())
        for result in self.sandbox.load(candidates):
            if isinstance(result, Loaded):
                self.loaded[result.name] = result
            yield result


def compare_files(loader: SandboxLoader, sources: Mapping[str, bytes]) -> list[Difference]:
    """What differs between files before and after their translation, in the order of their names.

    :param loader: the one that loaded them.
    :param sources: the bytes before translation, by name.
    """
    from wtmo.imports import compare
    from wtmo.imports.sandbox import Candidate, Refused

    if loader.sandbox is None:
        return []
    found: list[tuple[str, Difference]] = []
    originals = [Candidate(name=name, text=text) for name, text in sources.items()]
    for name, result in compare.compare_files(loader.sandbox, originals, loader.loaded):
        if isinstance(result, Refused):
            at = f"{name}:{result.line}" if result.line else name
            found.append((name, compare.Difference(at, "file", f"could not be recorded: {result.reason}", "loads")))
        else:
            found += [(name, difference) for difference in result]
    return [difference for _, difference in sorted(found, key=lambda entry: entry[0])]


def fingerprint(root: Path = ROOT, names: Iterable[str] = SHARED) -> str:
    """A digest of all code that a verdict depends on, this project's own and the versions of what it is built on.

    :param names: the files, and the folders of modules, below the root. Default: :data:`SHARED`.
    """
    whole = hashlib.sha256()
    for name in names:
        path = root / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.is_file() else []:
            whole.update(f"{file.relative_to(root)}\0".encode())
            whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:16]


class Judge:
    """Gives verdicts, known ones from the cache.

    :param read: gives the bytes of blobs.
    :param cache: where verdicts are kept. None: nowhere.
    :param loader: loads what was translated. None: what can be translated counts as good, and its DAGs are guessed from its
        text; of use where a digest tells afterwards whether that was right.
    :param translate: translates files.
    :param report: told what goes on.
    """

    def __init__(
        self,
        read: Callable[[Iterable[str]], Mapping[str, bytes]],
        cache: Cache | None,
        loader: Loader | None,
        *,
        translate: Callable[[Sequence[tuple[str, bytes]]], Iterable[Translated]] = translate_all,
        report: Report = no_report,
    ) -> None:
        self._read = read
        self._cache = cache
        self._loader = loader
        self._translate = translate
        self._report = report
        self.translated = 0
        self.loaded = 0

    def __call__(self, items: Sequence[Item]) -> dict[Item, Verdict]:
        """A verdict on each item."""
        found: dict[Item, Verdict] = {}
        for item in items:
            if known := self._known(item):
                found[item] = known
        unknown = [item for item in items if item not in found]
        if not unknown:
            return found
        sources = self._read({item.blob for item in unknown})
        translations = self._translations(unknown, sources)
        candidates: dict[str, tuple[Item, Translated]] = {}
        for item in unknown:
            translated = translations[item.name]
            if translated.problems:
                found[item] = Verdict(problems=translated.problems)
            else:
                candidates[item.name] = item, translated
        found |= self._load(candidates, sources)
        return found

    def _known(self, item: Item) -> Verdict | None:
        kept = self._cache.get("verdict", item.name, item.blob, item.note) if self._cache and self._loader else {}
        if not kept:
            return None
        return Verdict(kept["text"].encode(), kept["dag_ids"], tuple(Change(**change) for change in kept["changes"]))

    def _translations(self, items: Sequence[Item], sources: Mapping[str, bytes]) -> dict[str, Translated]:
        found: dict[str, Translated] = {}
        blobs = {item.name: item.blob for item in items}
        for name, blob in blobs.items():
            if self._cache and (kept := self._cache.get("translation", name, blob)):
                changes = tuple(Change(**change) for change in kept["changes"])
                problems = tuple(Problem(**problem) for problem in kept["problems"])
                found[name] = Translated(name, kept["text"].encode(), changes, problems)
        wanted = [(name, sources[blob]) for name, blob in blobs.items() if name not in found]
        for number, translated in enumerate(self._translate(wanted) if wanted else [], start=1):
            self._report("translated", number, len(wanted))
            found[translated.name] = translated
            self.translated += 1
            # A file that hung or fell is tried again at the next import: the machine may have been at fault.
            if self._cache and (not translated.problems or translated.problems[0].line is not None):
                kept = asdict(translated) | {"text": translated.text.decode()}
                self._cache.put(kept, "translation", translated.name, blobs[translated.name])
        return found

    def _load(
        self, candidates: Mapping[str, tuple[Item, Translated]], sources: Mapping[str, bytes]
    ) -> dict[Item, Verdict]:
        texts = {
            name: retire(made.text, item.note) if item.note else made.text for name, (item, made) in candidates.items()
        }
        if self._loader is None:
            return {
                item: Verdict(texts[name], dict.fromkeys(guess_dag_ids(texts[name])), made.changes)
                for name, (item, made) in candidates.items()
            }
        if not candidates:
            return {}
        from wtmo.imports.sandbox import Candidate, Loaded

        found: dict[Item, Verdict] = {}
        to_load = [Candidate(name=name, text=text) for name, text in texts.items()]
        for number, result in enumerate(self._loader.load(to_load), start=1):
            item, made = candidates[result.name]
            self._report("loaded in the sandbox", number, len(to_load))
            self.loaded += 1
            if isinstance(result, Loaded):
                lines = {dag_id: _line_of(sources[item.blob], dag_id) for dag_id in result.dag_ids}
                verdict = Verdict(texts[result.name], lines, made.changes)
                self._keep(item, verdict)
            else:
                # Not kept: a time or memory limit can be the machine's fault, and the next import tries again.
                verdict = Verdict(problems=(Problem(result.reason, result.line),))
            found[item] = verdict
        for item, _ in candidates.values():
            if item not in found:
                found[item] = Verdict(problems=(Problem("the sandbox gave no answer on it"),))
        return found

    def _keep(self, item: Item, verdict: Verdict) -> None:
        if self._cache:
            kept = {
                "text": verdict.text.decode(),
                "dag_ids": dict(verdict.dag_ids),
                "changes": [asdict(change) for change in verdict.changes],
            }
            self._cache.put(kept, "verdict", item.name, item.blob, item.note)


def hand_written(cache: Cache, loader: Loader, folder: Path = HAND_WRITTEN) -> dict[str, str]:
    """By ``dag_id``, the hand-written file that declares it.

    A file that does not load is taken by its name: by this project's rule it is named after its DAG.
    """
    texts = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.py"))}
    found: dict[str, list[str]] = {}
    for name, text in texts.items():
        if kept := cache.get("hand-written", name, hashlib.sha256(text).hexdigest()):
            found[name] = kept["dag_ids"]
    unknown = {name: text for name, text in texts.items() if name not in found}
    if unknown:
        from wtmo.imports.sandbox import Candidate, Loaded

        for result in loader.load([Candidate(name=name, text=text) for name, text in unknown.items()]):
            stem = Path(result.name).stem
            ids = sorted(result.dag_ids) if isinstance(result, Loaded) else [stem, stem.replace("_", "-")]
            found[result.name] = ids
            cache.put({"dag_ids": ids}, "hand-written", result.name, hashlib.sha256(unknown[result.name]).hexdigest())
    return {dag_id: f"dags/{name}" for name, ids in sorted(found.items()) for dag_id in ids}


def hand_written_digest(folder: Path = HAND_WRITTEN) -> str:
    """A digest of all that :func:`hand_written` reads."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        whole.update(f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def guess_dag_ids(text: bytes) -> list[str]:
    """The DAGs that a file in the generator's shape declares, without running it.

    >>> guess_dag_ids(b'with DAG(\\n    "bqetl_a",\\n    schedule=None) as dag: ...')
    ['bqetl_a']
    """
    return [found[2] for found in _DAG.finditer(text.decode())]


def _line_of(source: bytes, dag_id: str) -> int | None:
    quoted = (f'"{dag_id}"'.encode(), f"'{dag_id}'".encode())
    for number, line in enumerate(source.splitlines(), start=1):
        if any(name in line for name in quoted):
            return number
    return None
