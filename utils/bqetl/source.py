"""Where the files of bigquery-etl are: a folder, or a DAG bundle of Airflow's (a git repository that Airflow clones)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.dag_processing.bundles.base import BundleVersionLock, unpack_bundle_version
from airflow.dag_processing.bundles.manager import DagBundlesManager

from utils.bqetl.checkout import Checkout
from utils.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Generator

BUNDLE = "bundle:"


@contextlib.contextmanager
def opened(setting: str, *, own: Any = None, version: str | None = None) -> Generator[tuple[Checkout, str | None]]:
    """The checkout that ``BQETL_CHECKOUT`` or a task names, and its version, which is kept on disk meanwhile.

    The version of a bundle is, the first that there is: the one given; the one that Airflow has pinned for the run, where the
    run's DAG comes from this very bundle; the newest. A folder, and a bundle without versions, have None.

    :param setting: a folder that holds ``sql/``, or ``bundle:`` and the name of a DAG bundle. Of a git bundle with a
        ``subdir`` the repository's root is looked into too; with ``sparse_dirs``, ``sql`` must be one of them.
    :param own: the bundle of the task's own DAG (``ti.bundle_instance``). Default: not known.
    :param version: the version that an earlier step of the same try has read. Default: none has.
    :raises WtmoError: nothing is named, there is no such bundle, or it has no ``sql/``.
    """
    if not setting:
        raise WtmoError(
            "No checkout of bigquery-etl is named",
            fix="Set BQETL_CHECKOUT to the folder that holds sql/ or to bundle:<name of a DAG bundle>, "
            "or give the task checkout=.",
        )
    if not setting.startswith(BUNDLE):
        yield Checkout(Path(setting).resolve()), None
        return
    name = setting.removeprefix(BUNDLE)
    bundles = DagBundlesManager()
    known = bundles.get_all_bundle_names()
    if name not in known:
        raise WtmoError(
            f"{setting}: there is no DAG bundle {name!r}, but {', '.join(known)}",
            fix="Name it in [dag_processor] dag_bundle_config_list.",
        )
    if version is None and own is not None and own.name == name:
        version = own.version
    bundle = bundles.get_bundle(name)
    if version is None:
        bundle.initialize()
        version, _ = unpack_bundle_version(bundle.get_current_version(), bundle)
    if version is not None:
        # The newest is in one folder for all tasks, and changes while they read. Each version has a folder of its own.
        bundle = bundles.get_bundle(name, version)
        bundle.initialize()
    with BundleVersionLock(name, version):
        roots = [Path(bundle.path), Path(getattr(bundle, "repo_path", bundle.path))]
        yield Checkout(next((root for root in roots if (root / "sql").is_dir()), roots[0]).resolve()), version
