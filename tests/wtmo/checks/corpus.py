"""A small good repository of DAGs, and what becomes of it by one change: each defect is one that production had, or could have."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wtmo.checks.rule import IMPORTED_BUNDLE, OWN
from wtmo.graph.inventory import Source, inventory
from wtmo.graph.model import File, Inventory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BASE = Path(__file__).parent / "base"
CHECKOUT = BASE / "checkout"
BUNDLES = (OWN, IMPORTED_BUNDLE)
_CHANGED = "changed"

Edit = tuple[str, str]


@dataclass(frozen=True)
class Case:
    """A change of the good repository.

    :param changes: by file, ``<bundle>/<path>``: a text and what takes its place, which must stand in the file exactly once; or several
        of them; or the whole file; None: the file is gone.
    :param expect: codes of the rules that find something, each of them, and no other.
    """

    name: str
    changes: Mapping[str, Edit | list[Edit] | str | None]
    expect: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def texts(self) -> dict[str, str | None]:
        """What the changed files hold."""
        found: dict[str, str | None] = {}
        for name, change in self.changes.items():
            if change is None or isinstance(change, str):
                found[name] = change
                continue
            text = (BASE / name).read_text()
            for old, new in [change] if isinstance(change, tuple) else change:
                assert text.count(old) == 1, f"{self.name}: {old!r} stands {text.count(old)} times in {name}"
                text = text.replace(old, new)
            found[name] = text
        return found


@dataclass(frozen=True)
class Repository:
    """A case's DAGs, loaded."""

    inventory: Inventory
    roots: Mapping[str, Path]


def load(cases: Sequence[Case], folder: Path) -> dict[str, Repository]:
    """Every case's repository, by the case's name. A file that no case changes is loaded once; all share one sandbox.

    :param folder: an empty folder.
    """
    assert len({case.name for case in cases}) == len(cases), "two cases have one name"
    for number, case in enumerate(cases):
        for bundle in BUNDLES:
            shutil.copytree(BASE / bundle, folder / "whole" / str(number) / bundle)
        for name, text in case.texts().items():
            whole = folder / "whole" / str(number) / name
            whole.unlink(missing_ok=True)
            if text is not None:
                for path in (whole, folder / "changed" / str(number) / name):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(text.encode(errors="surrogateescape"))
    sources = [*(Source(bundle, BASE / bundle) for bundle in BUNDLES), Source(_CHANGED, folder / "changed")]
    found = inventory(sources, cache=None, checkout=CHECKOUT)
    files: dict[str, dict[str, File]] = {}
    for file in found.files:
        of, bundle, name = "", file.bundle, file.name
        if bundle == _CHANGED:
            of, bundle, name = file.name.split("/", 2)
        dags = tuple(replace(dag, bundle=bundle, file=name) for dag in file.dags)
        files.setdefault(of, {})[f"{bundle}/{name}"] = replace(file, bundle=bundle, name=name, dags=dags)
    loaded = {}
    for number, case in enumerate(cases):
        changed = files.get(str(number), {})
        assert set(changed) == {name for name, text in case.texts().items() if text is not None}, case.name
        kept = {name: file for name, file in files[""].items() if name not in case.changes}
        together = tuple(file for _, file in sorted((kept | changed).items(), reverse=True))
        root = folder / "whole" / str(number)
        loaded[case.name] = Repository(
            Inventory(found.date, together),
            {bundle: root / bundle for bundle in sorted({file.bundle for file in together})},
        )
    return loaded
