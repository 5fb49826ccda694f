"""The DAG bundle that serves imported files: Airflow polls the source, and pins each run to a version.

One entry of ``[dag_processor] dag_bundle_config_list``::

    {"name": "bigquery-etl", "classpath": "wtmo.imports.bundle.ImportedDagBundle",
     "kwargs": {"refresh_interval": 60}}

What to import is said there (``repo_url``, ``tracking_ref``, ``git_conn_id``) or in the environment (:class:`utils.config.Imports`).

What lies in the bundle's folder is a :class:`wtmo.imports.store.Store`, the same as that of ``wtmo import --into <that folder>``:
an import there before Airflow starts spares the dag-processor its first one.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion
from airflow.providers.common.compat.sdk import AirflowException
from airflow.providers.git.bundles.git import GitDagBundle

from utils.config import Imports
from wtmo.errors import WtmoError
from wtmo.imports.plan import RETIRE_DAYS
from wtmo.imports.run import MAX_HELD, Options, Tools, materialise, run_import
from wtmo.imports.source import FOLDER, GitSource
from wtmo.imports.status import age, read_status
from wtmo.imports.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.providers.git.hooks.git import GitHook

    from wtmo.imports.store import Tree

log = structlog.get_logger(__name__)

# The dag-processor parses nothing while a bundle refreshes.
FETCH_SECONDS = 60


class ImportedDagBundle(GitDagBundle):
    """A git repository's generated files, translated, checked and quarantined.

    What :class:`GitDagBundle` does with the repository is kept: the connection of type ``git``, the link to the commit, the
    lock on a version in use. Another is what is served: not the checkout but what an import makes of it
    (:mod:`wtmo.imports.run`). The whole repository is not cloned, one ref is fetched.

    A refresh that fails, or would hold back too many files, leaves what is served; the log and ``wtmo import status`` tell why
    and how old it is. No code of a file runs in the process that holds this object.

    :param tracking_ref: branch, tag or commit. Default: :attr:`utils.config.Imports.ref`.
    :param git_conn_id: Airflow connection of type ``git``, for private repositories. Default: that of
        :class:`utils.config.Imports`, or none; Airflow's ``git_default`` is not looked for.
    :param repo_url: the repository. Default: the connection's, or :attr:`utils.config.Imports.url`.
    :param only: see :class:`wtmo.imports.run.Options`, as the other two.
    """

    supports_versioning = True
    tools: ClassVar[Tools] = Tools()

    def __init__(
        self,
        *,
        tracking_ref: str | None = None,
        git_conn_id: str | None = None,
        repo_url: str | None = None,
        only: str | None = None,
        max_held: float = MAX_HELD,
        retire_days: int = RETIRE_DAYS,
        **kwargs: Any,
    ) -> None:
        settings = Imports()
        if not (repo_url or git_conn_id):
            repo_url, git_conn_id = settings.url or None, settings.git_conn_id or None
        tracking_ref = tracking_ref or settings.ref
        if git_conn_id:
            super().__init__(
                tracking_ref=tracking_ref, git_conn_id=git_conn_id, repo_url=repo_url, subdir=FOLDER, **kwargs
            )
        else:
            # Not GitDagBundle's: without a connection that asks Airflow for git_default each time, and logs a traceback.
            BaseDagBundle.__init__(self, **kwargs)
            self.tracking_ref, self.subdir = tracking_ref, FOLDER
            self.repo_url, self.git_conn_id, self.hook = repo_url, None, None
            self.submodules = False  # its __repr__, which Python 3.11 calls in every fork of the dag-processor
        self.options = Options(only=only, max_held=max_held, retire_days=retire_days)
        self.store = Store(self.base_dir)
        self._tree: Tree | None = None

    def initialize(self) -> None:
        """Bring the files: those of the pinned version, or the newest.

        :raises WtmoError: the version can be had neither from here nor anew, or nothing was ever imported and nothing can be.
        """
        if not self.repo_url:
            raise AirflowException(f"Connection {self.git_conn_id} doesn't have a host url")
        if self.version:
            self._tree = materialise(
                self.version, self._source(), self.store, self.options, report=self._report, tools=self.tools
            )
        else:
            self._import()
        # Not GitDagBundle's: that clones.
        BaseDagBundle.initialize(self)

    def refresh(self) -> None:
        """Import what is new. What can't be imported leaves what is served."""
        if self.version:
            raise AirflowException("Refreshing a specific version is not supported")
        self._import()

    @property
    def path(self) -> Path:
        """The folder of the files. A refresh gives another one: who reads the old one goes on."""
        if self.version:
            return self.store.versions / self.version / "dags"
        tree = self._tree or self.store.current
        return tree.dags if tree else self.store.root / "current" / "dags"

    def get_current_version(self) -> BundleVersion:
        """The source's commit and a digest of the files."""
        tree = self._tree or self.store.current
        if self.version is None and tree is None:
            raise AirflowException(f"Bundle {self.name} has imported nothing yet")
        return BundleVersion(version=self.version or (tree.version if tree else ""))

    def view_url_template(self) -> str | None:
        """The link to the source's commit: the first 40 characters of a version."""
        template = super().view_url_template()
        return template.replace("{version}", "{version!s:.40}") if template else None

    def _import(self) -> None:
        bound = log.bind(bundle=self.name, source=self.repo_url)
        try:
            outcome = run_import(self._source(), self.store, self.options, report=self._report, tools=self.tools)
        except Exception as error:
            if self.store.current is None:
                raise
            # Whatever it is, production goes on with what it has.
            told = read_status(self.store, self.tools.now())
            bound.exception(
                "Import failed; what was imported before is served",
                reason=str(error),
                version=told["version"],
                commit_age=age(told["age"]),
                source_read=f"{age(told['source_age'])} ago",
            )
        else:
            if outcome.outcome == "stopped":
                if self.store.current is None:
                    raise WtmoError(outcome.why, fix="wtmo import status --into " + str(self.store.root))
                bound.error("Import stopped; what was imported before is served", reason=outcome.why)
            elif outcome.outcome == "imported":
                held = [entry["file"] for entry in outcome.status["held_back"]]
                bound.info("Imported", version=outcome.version, files=outcome.status["served"], held_back=held)
        self._tree = self.store.current

    def _source(self) -> GitSource:
        return _ConnectedSource(str(self.repo_url), self.store.mirror, self.tracking_ref, self.hook)

    def _report(self, line: str, done: int = 0, total: int = 0) -> None:
        if done == total:
            log.info(line, bundle=self.name, files=total)


class _ConnectedSource(GitSource):
    """Fetches with the credentials of an Airflow connection, which are there for git and only while it fetches."""

    def __init__(self, url: str, mirror: Path, ref: str, hook: GitHook | None) -> None:
        super().__init__(url, mirror, ref=ref, seconds=FETCH_SECONDS)
        self._hook = hook

    def fetch(self, ref: str | None = None) -> None:
        """See :class:`GitSource`."""
        with self._hook.configure_hook_env() if self._hook else nullcontext():
            self.extra_environment = dict(self._hook.env) if self._hook else {}
            try:
                super().fetch(ref)
            finally:
                self.extra_environment = {}
