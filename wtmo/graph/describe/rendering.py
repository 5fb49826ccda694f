"""A task's templates and fields, rendered as the task does it. Runs in the sandbox only."""

from __future__ import annotations

import copy
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import jinja2

from wtmo.graph.describe.context import dates_of
from wtmo.graph.describe.templates import names_of, texts
from wtmo.graph.describe.values import Unknown, name_of, plain, words
from wtmo.graph.model import Template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow.sdk import DAG
    from airflow.sdk.bases.operator import BaseOperator


class Renderer:
    """Renders a DAG's templates as its tasks do, each text compiled once.

    :param runs: of a year, for what is asked for each of them.
    """

    def __init__(self, dag: DAG, context: Mapping[str, Any], runs: Sequence[tuple[datetime, ...]]) -> None:
        self.context = context
        self.mapped: dict[Any, dict[str, Any]] = {}
        """How :mod:`wtmo.graph.describe.waits` maps dates, by template or function: the tasks of a DAG ask for the same ones."""
        self._runs = runs
        self.environment = dag.get_template_env()
        compiled = self.environment.from_string
        # Airflow compiles each text anew; of a generated file most are the same ones.
        vars(self.environment)["from_string"] = lru_cache(maxsize=None)(lambda text: compiled(text))

    @cached_property
    def dates(self) -> list[dict[str, Any]]:
        """What of the context is the run's own, for each run."""
        return [dates_of(run) for run in self._runs]

    def text(self, task: Any, path: str, text: str, context: Mapping[str, Any]) -> Template:
        """One text of a task: what it renders to, or why it does not."""
        try:
            names = names_of(text, self.environment)
        except jinja2.TemplateSyntaxError as error:
            return Template(path, text, None, words(error), error.lineno)
        try:
            rendered = task.render_template(text, context, self.environment)
        except Exception as error:
            return Template(path, text, None, words(error), _line_of_template(error), names)
        return Template(path, text, str(plain(rendered)), None, None, names)


def _line_of_template(error: BaseException) -> int | None:
    """The line of the template's text that was rendered."""
    found, frame = None, error.__traceback__
    while frame is not None:
        template = frame.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            found = template.get_corresponding_lineno(frame.tb_lineno)
        elif frame.tb_frame.f_code.co_filename == "<template>":  # Jinja has rewritten it
            found = frame.tb_lineno
        frame = frame.tb_next
    return found


class Rendered:
    """A task whose template fields are rendered, as far as they can be.

    :ivar task: a copy of the task with rendered fields.
    :ivar values: the rendered fields as JSON; None where one is empty or can't be rendered.
    :ivar errors: why a field can't be rendered, by its name.
    :ivar unknown: names of the fields of which only a run has the value, and that are no words of a command.
    :ivar templates: every text with Jinja in it.
    """

    def __init__(self, task: BaseOperator, renderer: Renderer, context: Mapping[str, Any]) -> None:
        self.task: Any = copy.copy(task)
        vars(self.task)["_lock_for_execution"] = True  # fields that are set now are no dependencies
        self.values: dict[str, Any] = {}
        self.errors: dict[str, str] = {}
        self.unknown: set[str] = set()
        self.templates: list[Template] = []
        endings = tuple(task.template_ext or ())
        for name in task.template_fields:
            value = getattr(self.task, name, None)
            found = [renderer.text(task, path, text, context) for path, text in texts(value, name, endings)]
            self.templates += found
            wrong = next((f"{each.field}: {each.error}" for each in found if each.error), None)
            if wrong is None:
                wrong = self._render(name, value, renderer, context)
            if wrong is not None:
                self.errors[name], self.values[name] = wrong, None

    def _render(self, name: str, value: Any, renderer: Renderer, context: Mapping[str, Any]) -> str | None:
        own = vars(self.task)
        try:
            own[name] = own_copy(value)
            self.task._do_render_template_fields(self.task, (name,), context, renderer.environment, set())
            if isinstance(rendered := own[name], Unknown):
                if name in {"arguments", "cmds"}:
                    own[name] = [rendered]
                else:
                    self.unknown.add(name)
            self.values[name] = plain(own[name])
        except Exception as error:
            own[name], self.values[name] = value, None
            if callable(value):  # no text says it
                self.templates.append(Template(name, name_of(value), None, words(error)))
            return f"{name}: {words(error)}"
        return None


def own_copy(value: Any) -> Any:
    """A copy of a template field that can be rendered in place."""
    if isinstance(value, list):
        return [own_copy(each) for each in value]
    if isinstance(value, dict):
        return {key: own_copy(each) for key, each in value.items()}
    if type(value) is tuple:
        return tuple(own_copy(each) for each in value)
    return copy.deepcopy(value) if hasattr(value, "openapi_types") else value
