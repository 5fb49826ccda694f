"""A folder in bigquery-etl's layout: ``sql/<project>/<dataset>/<table>/`` with the files that describe and fill the table.

``query.sql`` (Jinja), ``metadata.yaml``, ``schema.yaml``, ``checks.sql`` (Jinja, with the macros of ``checks/``) and
``part1.sql``.. of a multipart query. Nothing here talks to BigQuery.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml
from jinja2.sandbox import SandboxedEnvironment

from utils.errors import WtmoError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # a PyYAML that was built without libyaml reads ten times as long
    from yaml import SafeLoader  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

MACROS = Path(__file__).parent / "checks"
QUERY_FILES = ("query.sql", "script.sql")
CHECKS_FILE = "checks.sql"

_NO_METRICS = "`metrics` is metric-hub, which only the image of bigquery-etl itself asks"
_NAME = re.compile(r"(?:(?P<project>[a-z0-9-]+)\.)?(?P<dataset>\w+)\.(?P<table>\w+)")
# Without one of these Jinja changes nothing, and most files have none.
_JINJA = re.compile(r"\{[{%#]")
# What stands around the print of a name that is not defined, and can't be in SQL.
_UNKNOWN = "\0"
_PRINTED = re.compile(rf"{_UNKNOWN}\w*{_UNKNOWN}")
# What must not be looked into when statements are split: comments, strings and quoted names of GoogleSQL.
_OPAQUE = re.compile(
    r"""
    (?:--|\#)[^\n]* | /\*.*?\*/
    | (?i:r?b?|br)(?:\"{3}(?:\\.|.)*?\"{3} | '{3}(?:\\.|.)*?'{3} | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*')
    | `[^`]*`
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class TableFolder:
    """One table's folder. Project, dataset and table are the names of the folder and of the two above it."""

    path: Path

    @property
    def project(self) -> str:
        """Name of the project, such as ``moz-fx-data-shared-prod``."""
        return self.path.parents[1].name

    @property
    def dataset(self) -> str:
        """Name of the dataset, such as ``telemetry_derived``."""
        return self.path.parent.name

    @property
    def table(self) -> str:
        """Name of the table, such as ``clients_daily_v6``."""
        return self.path.name

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """``metadata.yaml``; empty when there is none."""
        return _read_yaml(self.path / "metadata.yaml")

    @cached_property
    def schema(self) -> list[dict[str, Any]]:
        """The fields of ``schema.yaml`` as BigQuery's API takes them; empty when there is none."""
        fields = _read_yaml(self.path / "schema.yaml").get("fields", [])
        if not isinstance(fields, list):
            raise WtmoError(f"{self.path / 'schema.yaml'}: `fields` is not a list")
        return fields

    @property
    def labels(self) -> dict[str, Any]:
        """``labels`` of ``metadata.yaml``, without those that are ``false``."""
        return {name: value for name, value in (self.metadata.get("labels") or {}).items() if value is not False}

    @property
    def has_descriptions(self) -> bool:
        """Whether a field of ``schema.yaml`` has a description to put back after the table was overwritten."""
        return any("description" in field for field in self.schema)


class Checkout:
    """The checkout at ``root``; relative paths of a command are relative to it, as they are in the image.

    :param root: the folder that holds ``sql/``.
    """

    def __init__(self, root: Path) -> None:
        """Refuse a root without ``sql/``."""
        self.root = root
        if not (root / "sql").is_dir():
            raise WtmoError(
                f"{root} is no bigquery-etl checkout: it has no folder sql/",
                fix="Set BQETL_CHECKOUT to a folder that holds sql/<project>/<dataset>/<table>/query.sql.",
            )

    def find(self, name: str, filenames: tuple[str, ...], *, project: str | None = None) -> Path:
        """The file that a command means.

        :param name: path of the file or of its folder, or ``[project.]dataset.table``.
        :param filenames: the files to take from a folder, the first that exists.
        :param project: project of a name that has none. Default: whichever project of the checkout has the table.
        :raises WtmoError: naming the path looked for, when there is no such file.
        """
        path = self.root / name
        if path.is_file():
            return path
        folders = [path]
        if match := _NAME.fullmatch(name):
            in_project = match["project"] or project or "*"
            folders = sorted((self.root / "sql").glob(f"{in_project}/{match['dataset']}/{match['table']}")) or [
                self.root / "sql" / in_project / match["dataset"] / match["table"]
            ]
            if len(folders) > 1:
                raise WtmoError(
                    f"{name} is in several projects: {', '.join(folder.parents[1].name for folder in folders)}",
                    fix="Name it project.dataset.table.",
                )
        for candidate in (folders[0] / filename for filename in filenames):
            if candidate.is_file():
                return candidate
        missing = path if path.suffix else folders[0] / filenames[0]
        raise WtmoError(f"No such file: {missing}", fix=f"Paths are relative to the checkout, {self.root}.")

    def folder(self, path: Path) -> TableFolder:
        """The table folder that ``path`` (a file in it, or itself) belongs to."""
        folder = (path if path.is_dir() else path.parent).resolve()
        if len(folder.parts) < 4:
            raise WtmoError(f"{path} is not in a folder <project>/<dataset>/<table>")
        return TableFolder(folder)

    def shown(self, path: Path) -> str:
        """``path`` as a person types it: relative to the checkout where it is inside."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def render(self, path: Path, variables: Mapping[str, Any] | None = None) -> str:
        """The SQL of a Jinja file. ``is_init()`` is False, as in every run that is not an initialisation.

        ``checks.sql`` also sees the macros of ``utils/bqetl/checks/`` by their names. A name that is not defined prints nothing in a
        comment of the SQL, as the query runner prints nothing for it anywhere. A file is text of others: Jinja's sandbox keeps
        it from Python's inner names, by which it could run code here.

        :raises WtmoError: with file and line, for a syntax error, a variable that is not defined, what the sandbox refuses, or whatever
            an expression raises.
        """
        files = _Files([path.parent, self.root, MACROS], within=self._homes(path))
        environment = _environment(files)
        names = {"is_init": lambda: False, "metrics": jinja2.StrictUndefined(hint=_NO_METRICS), **(variables or {})}
        try:
            source, _, _ = files.get_source(environment, path.name)
            if not _JINJA.search(source):
                return source
            if path.name == CHECKS_FILE:
                macros = _macros().make_module(names)
                names |= {name: value for name, value in vars(macros).items() if not name.startswith("_")}
            try:
                return environment.get_template(path.name).render(names)
            except jinja2.UndefinedError:
                lenient = _environment(files, undefined=_Unknown).get_template(path.name).render(names)
                sql = _with_comments(lenient, functools.partial(_PRINTED.sub, ""))
                if _UNKNOWN in sql:
                    raise
                return sql
        except WtmoError:
            raise
        except jinja2.TemplateSyntaxError as error:
            raise WtmoError(f"{error.filename or self.shown(path)}:{error.lineno}: {error.message}") from error
        except jinja2.TemplateNotFound as error:
            raise WtmoError(f"{self.shown(path)}: the file it includes does not exist: {error.name}") from error
        except jinja2.TemplateRuntimeError as error:
            line = _template_line(error.__traceback__, path)
            raise WtmoError(f"{self.shown(path)}{line}: {error.message}") from error
        except Exception as error:
            # An expression of the file can raise anything that Python does: a division by zero, an endless recursion.
            line = _template_line(error.__traceback__, path)
            raise WtmoError(f"{self.shown(path)}{line}: {type(error).__name__}: {error}") from error

    def _homes(self, path: Path) -> list[Path]:
        """Where the files may lie that a file of this path is made of, links followed."""
        own = self.root if path.is_relative_to(self.root) else path.parent
        return [own.resolve(), self.root.resolve(), MACROS.resolve()]


class _Unknown(jinja2.StrictUndefined):
    """A name that is not defined; its print can be told from all else."""

    def __str__(self) -> str:  # type: ignore[override]  # that of a strict one returns nothing
        return f"{_UNKNOWN}{self._undefined_name}{_UNKNOWN}"


def _environment(
    loader: jinja2.BaseLoader, undefined: type[jinja2.Undefined] = jinja2.StrictUndefined
) -> jinja2.Environment:
    return SandboxedEnvironment(
        loader=loader,
        undefined=undefined,
        autoescape=jinja2.select_autoescape(),  # escapes HTML only, so not SQL
        keep_trailing_newline=True,
    )


@cache
def _macros() -> jinja2.Template:
    """Those of ``utils/bqetl/checks/``. Compiling them takes longer than all else about a file."""
    return _environment(jinja2.FileSystemLoader(MACROS)).get_template("macros.jinja")


class _Files(jinja2.FileSystemLoader):
    """Files of some folders; a link out of the checkout, to a file of the machine, is refused."""

    def __init__(self, folders: Sequence[Path], *, within: Sequence[Path]) -> None:
        super().__init__(folders)
        self._within = within

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        source, filename, is_current = super().get_source(environment, template)
        if not any(Path(filename).resolve().is_relative_to(home) for home in self._within):
            raise WtmoError(f"{filename} is a link to a file outside of the checkout", fix="put the file itself there")
        return source, filename, is_current


def split_statements(sql: str) -> list[str]:
    """The statements of ``sql``, each with the comments before it and its ``;``; what only comments is left out.

    >>> split_statements("#fail\\nSELECT ';'; -- one; two\\nSELECT 2")
    ["#fail\\nSELECT ';';", '-- one; two\\nSELECT 2']
    """
    ends = [match.end() for match in _OPAQUE.finditer(sql) if match["end"]]
    pieces = [sql[start:end].strip() for start, end in zip([0, *ends], [*ends, len(sql)], strict=True)]
    return [piece for piece in pieces if _without_comments(piece).strip("; \n\t")]


def statements_marked(sql: str, marker: str) -> list[str]:
    """Those statements of a rendered ``checks.sql`` that carry ``#<marker>``, in any letter case."""
    wanted = re.compile(rf"#{re.escape(marker)}\b", re.IGNORECASE)
    return [statement for statement in split_statements(sql) if wanted.search(statement)]


def _without_comments(sql: str) -> str:
    return _with_comments(sql, lambda _: "")


def _with_comments(sql: str, change: Callable[[str], str]) -> str:
    """The SQL with each comment changed."""
    return _OPAQUE.sub(lambda match: change(match[0]) if match[0].startswith(("--", "#", "/*")) else match[0], sql)


def _template_line(traceback: TracebackType | None, path: Path) -> str:
    """``:<line>`` of the innermost frame that is in the template; Jinja rewrites tracebacks to template lines."""
    line = ""
    while traceback:
        if Path(traceback.tb_frame.f_code.co_filename).name == path.name:
            line = f":{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line


class _Loader(SafeLoader):
    """YAML with bigquery-etl's tag for a description that several schemas share."""


def _include_description(loader: SafeLoader, node: yaml.Node) -> str:
    """``!include-field-description {file: <path in the checkout>, field: <name>}``."""
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(problem="expected a mapping", problem_mark=node.start_mark)
    wanted = loader.construct_mapping(node)
    here = Path(node.start_mark.name)
    root = next(parent.parent for parent in here.parents if parent.name == "sql")
    for field in _read_yaml(root / wanted["file"]).get("fields", []):
        if field["name"] == wanted["field"]:
            return str(field["description"])
    raise WtmoError(f"{here}:{node.start_mark.line + 1}: {wanted['file']} has no field {wanted['field']}")


_Loader.add_constructor("!include-field-description", _include_description)


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    with path.open() as file:
        try:
            content = _Loader(file).get_single_data()
        except yaml.YAMLError as error:
            raise WtmoError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise WtmoError(f"{path}: not a mapping")
    return content
