"""Translate a generated DAG file from Airflow 2.10 to Airflow 3.3.

A pure function of the file's bytes. The file is read twice: by Python's own parser, which knows lines and refuses what
is no Python, and by libcst, which keeps every blank and comment. Both trees are walked side by side, statement by
statement. What the walk does not know (:mod:`wtmo.imports.contract`, :mod:`wtmo.imports.templates`) is a
:class:`Problem` with its line; nothing is guessed, and nothing of the file is run.

Generated files are declarations. So there are no loops, conditions, functions, classes or computed values here but the
joining of lists and strings: a file that has them is refused.
"""

from __future__ import annotations

import ast
import hashlib
import io
import re
import tokenize
import warnings
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import libcst as cst

from wtmo.imports.contract import (
    CALLS,
    DEFAULT_ARGS_KEYS,
    DROPPED,
    KEYWORD_RULES,
    KEYWORD_TYPES,
    MODULES,
    MOVED_BY_AIRFLOW,
    MOVED_BY_US,
    PAST_KEYWORDS,
    REFUSED_KEYWORDS,
    REMOVED,
    RETIRED,
    RULES,
    SCHEDULE_PRESETS,
    TASK_RENAMES,
    TEXT_KEYWORDS,
    TRIGGER_RULES,
    TRIGGER_RULES_RENAMED,
    VALUES,
    Call,
    Rule,
)
from wtmo.imports.templates import is_template, translate_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "RULES",
    "VERSION",
    "Change",
    "Problem",
    "Rule",
    "Translation",
    "TranslationError",
    "fingerprint",
    "translate",
]

VERSION = 1
"""Of the translator's interface. What it does is told by :func:`fingerprint`."""

MAX_DEPTH = 60
"""How deep expressions and blocks may nest. Generated files nest 12 deep; a parser's stack ends at a few thousand."""

_MOVED = MOVED_BY_AIRFLOW | MOVED_BY_US
_IMPORTABLE = frozenset({*CALLS, *VALUES, *MODULES, *_MOVED.values()})
_LOCAL = "a name of this file"
_REFUSED = "refused: "
"""Begins what a name stands for whose import was refused: that is reported once, not at each use."""
_HOLE = "\ue000"
"""Stands in a template for an expression of an f-string. Jinja reads it as text, and nowhere else."""


@dataclass(frozen=True)
class Change:
    """What a rule did.

    :param rule: name of the rule, of :data:`RULES`.
    :param line: line of the source file, from 1.
    :param what: what was there and what is there now.
    """

    rule: str
    line: int
    what: str


@dataclass(frozen=True)
class Problem:
    """Why a file can't be translated, and what to do.

    :param line: line of the source file, from 1; None where it is of the whole file.
    """

    line: int | None
    reason: str


@dataclass(frozen=True)
class Translation:
    """The file for Airflow 3.3, and what was changed, in the order of lines."""

    text: str
    changes: tuple[Change, ...]


class TranslationError(Exception):
    """The file can't be translated. Holds every problem that was found, in the order of lines."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line or 0, problem.reason)))
        super().__init__(
            "\n".join(f"{name}:{p.line}: {p.reason}" if p.line else f"{name}: {p.reason}" for p in self.problems)
        )

    def __reduce__(self) -> tuple[type[TranslationError], tuple[str, tuple[Problem, ...]]]:
        return type(self), (self.name, self.problems)


def fingerprint() -> str:
    """Changes whenever the translator's code or tables do, or a library that it reads with: the key of a cache."""
    return _fingerprint()


@lru_cache(maxsize=1)
def _fingerprint() -> str:
    here = Path(__file__)
    digest = hashlib.sha256(f"{VERSION} {version('libcst')} {version('jinja2')}".encode())
    for part in ("translate.py", "contract.py", "templates.py"):
        digest.update(here.with_name(part).read_bytes())
    return digest.hexdigest()


def translate(source: bytes, name: str) -> Translation:
    """Translate one file.

    :param source: the file as it is, UTF-8.
    :param name: how messages call it.
    :raises TranslationError: something in it is not known. Names everything that is wrong, not only the first.
    """
    try:
        text = _decode(source)
        tree = _parse(text)
        reader = _Reader(tree)
        module = reader.module(cst.parse_module(text), tree)
    except _FileError as error:
        raise TranslationError(name, [error.problem]) from None
    except cst.ParserSyntaxError as error:
        raise TranslationError(name, [Problem(error.raw_line, "This is not Python that can be read.")]) from None
    if reader.problems:
        raise TranslationError(name, reader.problems)
    return Translation(module.code, tuple(sorted(reader.changes, key=lambda change: change.line)))


class _FileError(Exception):
    def __init__(self, line: int | None, reason: str) -> None:
        super().__init__(reason)
        self.problem = Problem(line, reason)


def _decode(source: bytes) -> str:
    if b"\0" in source:
        raise _FileError(source[: source.index(b"\0")].count(b"\n") + 1, "The file holds a NUL byte: it is no text.")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    except SyntaxError as error:
        raise _FileError(1, f"The file's encoding can't be told: {error.msg}. Save it as UTF-8.") from None
    if encoding != "utf-8":
        raise _FileError(1, f"The file says that it is {encoding}. Save it as UTF-8, without a byte order mark.")
    try:
        return source.decode()
    except UnicodeDecodeError as error:
        line = source[: error.start].count(b"\n") + 1
        raise _FileError(line, f"The file is not UTF-8: byte 0x{source[error.start]:02x}. Save it as UTF-8.") from None


def _parse(text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            # Of an escape that Python does not know, as in "\\d": it stays as it is.
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
            _check_depth(tree)
            compile(tree, "<generated>", "exec", dont_inherit=True)  # Finds what is no matter of grammar: f(a=1, a=2).
    except SyntaxError as error:
        raise _FileError(error.lineno, f"This is no valid Python: {error.msg}.") from None
    except (RecursionError, MemoryError):
        raise _FileError(None, _TOO_DEEP) from None
    except ValueError as error:
        raise _FileError(None, f"This is no valid Python: {error}.") from None
    return tree


_TOO_DEEP = "The file nests deeper than any generated file. Write it flat in the source."


def _check_depth(tree: ast.Module) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for field in node._fields
            if (held := getattr(node, field)).__class__ is list or isinstance(held, ast.AST)
            for child in (held if held.__class__ is list else (held,))
            if isinstance(child, ast.AST)
        ]
        if not level:
            return
    raise _FileError(next((node.lineno for node in level if isinstance(node, ast.expr | ast.stmt)), None), _TOO_DEEP)


class _Reader:
    """Walks the two trees of one file, and collects changes and problems."""

    def __init__(self, tree: ast.Module) -> None:
        self.changes: list[Change] = []
        self.problems: list[Problem] = []
        self._names: dict[str, str] = {}
        """Every name that is bound so far: what it was imported from, by its name in Airflow 3.3, or ``_LOCAL``."""
        self._retired: dict[str, str] = {}
        self._used, self._prose, self._default_args = _uses(tree)
        self._tasks_start = any(
            keyword.arg == "start_date"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and (_path(node.func) or ("",))[-1] != "DAG"
            for keyword in node.keywords
        )

    def module(self, module: cst.Module, tree: ast.Module) -> cst.Module:
        return module.with_changes(body=self._block(module.body, tree.body))

    # Statements

    def _block(
        self,
        body: Sequence[cst.SimpleStatementLine | cst.BaseCompoundStatement | cst.BaseStatement],
        twins: Sequence[ast.stmt],
    ) -> list[cst.BaseStatement]:
        result: list[cst.BaseStatement] = []
        following = iter(twins)
        orphaned: list[cst.EmptyLine] = []  # Comments above a statement that was left out: they go to the next one.
        for statement in body:
            for new in self._statement(statement, following):
                if isinstance(new, _Gone):
                    orphaned += new.lines
                    continue
                kept = cast("cst.SimpleStatementLine | cst.With", new)
                result.append(kept.with_changes(leading_lines=[*orphaned, *kept.leading_lines]) if orphaned else new)
                orphaned = []
        if any(line.comment for line in orphaned):
            result.append(cst.SimpleStatementLine([cst.Pass()], leading_lines=orphaned))
        return result

    def _statement(self, node: cst.BaseStatement, twins: Iterator[ast.stmt]) -> list[cst.BaseStatement | _Gone]:
        if isinstance(node, cst.SimpleStatementLine):
            pairs = [(small, next(twins)) for small in node.body]
            if len(pairs) == 1 and isinstance(pairs[0][0], cst.ImportFrom):
                return self._import_from(node, pairs[0][0], cast("ast.ImportFrom", pairs[0][1]))
            return [node.with_changes(body=[self._small(small, twin) for small, twin in pairs])]
        twin = next(twins)
        if isinstance(node, cst.With) and isinstance(twin, ast.With):
            return [self._with(node, twin)]
        self._not_a_declaration(twin)
        return [node]

    def _small(self, node: cst.BaseSmallStatement, twin: ast.stmt) -> cst.BaseSmallStatement:
        match twin:
            case ast.Import():
                self._import(twin)
            case ast.Expr():
                expression = cast("cst.Expr", node)
                return expression.with_changes(value=self._effect(expression.value, twin.value))
            case ast.Assign(targets=[ast.Name(id=name)]):
                assign = cast("cst.Assign", node)
                value = self._assigned(name, assign.value, twin.value)
                self._bind(name, _LOCAL, twin.lineno)
                return assign.with_changes(value=value)
            case ast.Pass():
                pass
            case _:
                self._not_a_declaration(twin)
        return node

    def _not_a_declaration(self, twin: ast.AST) -> None:
        what = _STATEMENTS.get(type(twin), "This")
        self._problem(
            twin,
            f"{what} is not known in a generated file, which only declares: imports, assignments, `with DAG(...)`, "
            "`with TaskGroup(...)`, calls of operators and their dependencies. Generate declarations.",
        )

    def _with(self, node: cst.With, twin: ast.With) -> cst.BaseStatement:
        items: list[cst.WithItem] = []
        for item, part in zip(node.items, twin.items, strict=True):
            kind = self._kind(part.context_expr)
            if kind not in {"dag", "group"} and not isinstance(part.context_expr, ast.Name):
                self._problem(part.context_expr, "`with` is known of DAG and TaskGroup only.")
                items.append(item)
            else:
                items.append(item.with_changes(item=self._value(item.item, part.context_expr, kinds=("dag", "group"))))
            if isinstance(part.optional_vars, ast.Name):
                self._bind(part.optional_vars.id, _LOCAL, part.optional_vars.lineno)
            elif part.optional_vars is not None:
                self._not_a_declaration(twin)
        if not isinstance(node.body, cst.IndentedBlock):
            self._problem(twin, "Put the statements of `with` on lines of their own.")
            return node
        body = node.body.with_changes(body=self._block(node.body.body, twin.body))
        return node.with_changes(items=items, body=body)

    def _effect(self, node: cst.BaseExpression, twin: ast.expr) -> cst.BaseExpression:
        """An expression that is a statement: a doc string, a task without a name, or a dependency."""
        match twin:
            case ast.Constant(value=str()):
                return node
            case ast.Call(func=ast.Attribute(attr="set_upstream" | "set_downstream", value=ast.Name(id=name))):
                if self._names.get(name) != _LOCAL:
                    self._undefined(twin, name)
                if twin.keywords or len(twin.args) != 1:
                    self._problem(twin, f"{name}.set_upstream(...) is known with one task, or one list of tasks.")
                for argument in twin.args:
                    self._tasks(argument)
                return node
            case ast.BinOp(op=ast.RShift() | ast.LShift()):
                self._tasks(twin)
                return node
            case ast.Call():
                return self._value(node, twin, kinds=("task", "group"))
        self._not_a_declaration(twin)
        return node

    def _tasks(self, twin: ast.expr) -> None:
        match twin:
            case ast.Name(id=name):
                if self._names.get(name) != _LOCAL:
                    self._undefined(twin, name)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                for element in elements:
                    self._tasks(element)
            case ast.BinOp(left=left, op=ast.RShift() | ast.LShift(), right=right):
                self._tasks(left)
                self._tasks(right)
            case _:
                self._problem(twin, "Dependencies are known between names of tasks and lists of them.")

    # Imports

    def _import(self, twin: ast.Import) -> None:
        for alias in twin.names:
            if alias.name not in MODULES:
                self._problem(twin, f"unknown import: {alias.name}. {_KNOWN_IMPORTS}")
            elif alias.asname:
                self._bind(alias.asname, alias.name, twin.lineno)
            else:
                root = alias.name.partition(".")[0]
                self._bind(root, root, twin.lineno)

    def _import_from(
        self, line: cst.SimpleStatementLine, node: cst.ImportFrom, twin: ast.ImportFrom
    ) -> list[cst.BaseStatement | _Gone]:
        module = twin.module or ""
        if twin.level or isinstance(node.names, cst.ImportStar):
            self._problem(twin, "Import names one by one, and from modules in full.")
            return [line]
        if (module, [alias.name for alias in twin.names]) == ("__future__", ["annotations"]):
            return [line]
        targets: dict[str, list[cst.ImportAlias]] = {}
        for alias, part in zip(node.names, twin.names, strict=True):
            target = self._import_target(module, part)
            if target is None:
                continue
            new_module, _, new_name = target.rpartition(".")
            renamed = alias
            if new_name != part.name:
                as_name = cst.AsName(cst.Name(part.asname or part.name))
                renamed = alias.with_changes(name=cst.Name(new_name), asname=as_name)
            if target != f"{module}.{part.name}":
                self._change("moved-import", part, f"{module}.{part.name} is imported as {target}")
            targets.setdefault(new_module, []).append(renamed)
            self._bind(part.asname or part.name, target, part.lineno)
        if not targets:
            said = line.trailing_whitespace.comment
            return [_Gone([*line.leading_lines, *([cst.EmptyLine(comment=said)] if said else [])])]
        if list(targets) == [module] and targets[module] == list(node.names):
            return [line]
        statements: list[cst.BaseStatement | _Gone] = []
        for number, (new_module, names) in enumerate(targets.items()):
            if node.rpar is None:
                names[-1] = names[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            imported = node.with_changes(module=_dotted(new_module), names=names)
            if number == 0:
                statements.append(line.with_changes(body=[imported]))
            else:
                statements.append(cst.SimpleStatementLine([imported]))
        return statements

    def _import_target(self, module: str, part: ast.alias) -> str | None:
        """Where a name is in Airflow 3.3, or None if the import is left out or refused."""
        whole = f"{module}.{part.name}"
        bound = part.asname or part.name
        if whole in RETIRED:
            if bound in self._used:
                self._retired[bound] = whole
            else:
                self._change("retired-import", part, f"{whole} is not imported any more: the file does not use it")
            return None
        target = _MOVED.get((module, part.name), whole)
        if target in _IMPORTABLE:
            return target
        why = REMOVED.get(module, _KNOWN_IMPORTS)
        self._problem(part, f"unknown import: {whole}. {why}")
        self._names.setdefault(bound, f"{_REFUSED}{whole}")
        return None

    def _bind(self, name: str, target: str, line: int) -> None:
        before = self._names.get(name, target)
        if before != target and not before.startswith(_REFUSED):
            self.problems.append(
                Problem(line, f"{name} is {before} above, and gets another meaning here. Rename one of them.")
            )
        self._names[name] = target

    # Values

    def _assigned(self, name: str, node: cst.BaseExpression, twin: ast.expr) -> cst.BaseExpression:
        if name in self._default_args:
            if isinstance(twin, ast.Dict):
                return self._default_args_dict(cast("cst.Dict", node), twin)
            self._problem(twin, "default_args are known as a dict only. Write them out.")
        return self._value(node, twin, template=name not in self._prose, kinds=("dag", "group", "task", "value"))

    def _value(
        self,
        node: cst.BaseExpression,
        twin: ast.expr,
        *,
        template: bool = True,
        kinds: Sequence[str] = ("value",),
    ) -> cst.BaseExpression:
        match twin:
            case ast.Constant(value=str()) | ast.JoinedStr():
                return self._string(node, twin, template=template)
            case ast.Constant(value=bool() | int() | float() | None):
                pass
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
                pass
            case ast.Name(id=name):
                if name in self._retired or name not in self._names:
                    self._undefined(twin, name)
            case ast.Attribute():
                self._attribute(twin)
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                whole = cast("cst.BinaryOperation", node)
                return whole.with_changes(
                    left=self._value(whole.left, left, template=template),
                    right=self._value(whole.right, right, template=template),
                )
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return self._elements(cast("cst.List | cst.Tuple", node), elements, template=template)
            case ast.Dict():
                return self._dict(cast("cst.Dict", node), twin, template=template)
            case ast.Call():
                return self._call(cast("cst.Call", node), twin, kinds)
            case _:
                self._problem(
                    twin,
                    f"{_EXPRESSIONS.get(type(twin), 'This expression')} is not known in a generated file. Values are constants, "
                    "names, lists, dicts, their sums, and calls that are known. Generate the value itself.",
                )
        return node

    def _elements(
        self, node: cst.List | cst.Tuple, twins: Sequence[ast.expr], *, template: bool
    ) -> cst.List | cst.Tuple:
        new = [
            element.with_changes(value=self._value(element.value, twin, template=template))
            for element, twin in zip(node.elements, twins, strict=True)
        ]
        return node.with_changes(elements=new)

    def _dict(self, node: cst.Dict, twin: ast.Dict, *, template: bool) -> cst.Dict:
        new: list[cst.BaseDictElement] = []
        for element, key, value in zip(node.elements, twin.keys, twin.values, strict=True):
            if not isinstance(element, cst.DictElement) or not isinstance(key, ast.Constant):
                self._problem(key or value, "Keys of a dict are known as constants only. Write them out.")
                continue
            new.append(element.with_changes(value=self._value(element.value, value, template=template)))
        return node.with_changes(elements=new)

    def _attribute(self, twin: ast.Attribute) -> None:
        path = _path(twin)
        if path is None or path[0] not in self._names:
            self._problem(twin, "An attribute is known of imported names only. Generate the value itself.")
            return
        target, attribute = self._names[path[0]], ".".join(path[1:])
        for whole, allowed in VALUES.items():
            if f"{target}.{attribute}".startswith(f"{whole}."):
                rest = f"{target}.{attribute}"[len(whole) + 1 :]
                if allowed and rest in allowed:
                    return
        self._problem(
            twin, f"unknown: {'.'.join(path)}, which is {target}.{attribute}. Generate a value that is known."
        )

    def _undefined(self, twin: ast.AST, name: str) -> None:
        target = self._names.get(name)
        if whole := self._retired.get(name):
            self._problem(twin, f"{whole} is gone. {RETIRED[whole]}")
        elif target is None:
            self._problem(
                twin, f"{name} is neither imported nor assigned above. Generate its import or its definition."
            )
        elif not target.startswith(_REFUSED):
            self._problem(twin, f"{name} is {target}, not a task of this file. Name a task.")

    # Strings

    def _string(self, node: cst.BaseExpression, twin: ast.expr, *, template: bool) -> cst.BaseExpression:
        if isinstance(node, cst.SimpleString) and "{" not in node.value:
            return node
        holes = [value for value in ast.walk(twin) if isinstance(value, ast.FormattedValue)]
        for hole in holes:
            if not isinstance(hole.value, ast.Name) or hole.format_spec or hole.conversion != -1:
                self._problem(hole, "An f-string is known with plain names only. Generate the text itself.")
            elif hole.value.id not in self._names:
                self._undefined(hole, hole.value.id)
        return self._string_part(node, twin.lineno, whole=True) if template else node

    def _string_part(self, node: cst.BaseExpression, line: int, *, whole: bool) -> cst.BaseExpression:
        if isinstance(node, cst.ConcatenatedString):
            lines_left = _text(node.left).count("\n")
            between = line + lines_left + _text(node.whitespace_between).count("\n")
            return node.with_changes(
                left=self._string_part(node.left, line, whole=False),
                right=self._string_part(node.right, between, whole=False),
            )
        pieces = _pieces(node)
        value = "".join(character for character, _, _, _ in pieces)
        if not is_template(value):
            return node
        edits, faults = translate_template(value)
        for fault in faults:
            part, start = (pieces[fault.at][1:3]) if fault.at < len(pieces) else (0, 0)
            at = line + _lines_before(node, part, start)
            why = fault.reason
            if "can't be read" in why and not whole:
                why += " It is a piece of a string: write a template in one piece."
            if "can't be read" in why and _HOLE in value:
                why += " What an f-string fills in can't be part of a template."
            self.problems.append(Problem(at, why.replace(_HOLE, "{...}")))
        if not edits or faults:
            return node
        parts = _part_texts(node)
        quote = '"' if _quote_of(node).startswith("'") else "'"
        for edit in reversed(edits):
            _, part, start, _ = pieces[edit.start]
            end = pieces[edit.end - 1][3]
            at = line + _lines_before(node, part, start)
            self.changes.append(Change(edit.rule, at, f"in a template, {edit.old} is {edit.new}"))
            parts[part] = parts[part][:start] + edit.new.replace("'", quote) + parts[part][end:]
        return _with_part_texts(node, parts)

    # Calls

    def _kind(self, twin: ast.expr) -> str | None:
        call = CALLS.get(self._called(twin) or "") if isinstance(twin, ast.Call) else None
        return call.kind if call else None

    def _called(self, twin: ast.Call) -> str | None:
        path = _path(twin.func)
        if path is None or path[0] not in self._names:
            return None
        return ".".join([self._names[path[0]], *path[1:]])

    def _call(self, node: cst.Call, twin: ast.Call, kinds: Sequence[str]) -> cst.Call:
        name = ast.unparse(twin.func)
        target = self._called(twin)
        spec = CALLS.get(target or "")
        if spec is None:
            if isinstance(twin.func, ast.Name) and target is None:
                self._undefined(twin, twin.func.id)
            elif not (target or "").startswith(_REFUSED):
                self._problem(twin, f"unknown call: {name}(...). Generated files call: {_KNOWN_CALLS}.")
            return node
        if spec.kind not in kinds:
            self._problem(twin, f"{name}(...) can't stand here: it is a {spec.kind}. {_PLACES[spec.kind]}")
            return node
        values = [*twin.args, *(keyword.value for keyword in twin.keywords)]
        if any(argument.star for argument in node.args):
            self._problem(twin, f"{name}(...) with * or ** can't be checked. Write the arguments out.")
            return node
        if len(twin.args) > spec.positional:
            self._problem(twin, f"{name}(...) takes {spec.positional or 'no'} arguments without a name. Name them all.")
        arguments = _Arguments(list(node.args))
        seen: set[str] = set()
        keywords = iter(twin.keywords)
        for argument, value in zip(node.args, values, strict=True):
            keyword = next(keywords) if argument.keyword else None
            if keyword is None:
                arguments.replace(argument, argument.with_changes(value=self._value(argument.value, value)))
                continue
            self._keyword(spec, name, arguments, argument, keyword, seen)
        self._defaults(spec, twin, arguments, seen)
        return node.with_changes(args=arguments.result) if arguments.touched else node

    def _keyword(
        self, spec: Call, name: str, arguments: _Arguments, argument: cst.Arg, keyword: ast.keyword, seen: set[str]
    ) -> None:
        old = keyword.arg or ""
        new = spec.renames.get(old, old)
        if why := DROPPED.get(spec.kind, {}).get(old):
            self._change("keyword-dropped", keyword, f"{old}= is left out: {why}")
            arguments.remove(argument)
            return
        if new not in spec.keywords:
            known = f"It takes: {', '.join(sorted(spec.keywords | spec.renames.keys()))}."
            self._problem(keyword, f"unknown keyword of {name}: {old}. {REFUSED_KEYWORDS.get(old, known)}")
            return
        changed = argument
        if new != old:
            self._change(KEYWORD_RULES[old], keyword, f"{old}= is {new}=")
            changed = argument.with_changes(keyword=cst.Name(new))
        if new in seen:
            self._problem(keyword, f"{name} gets {new} twice, once under its old name. Give one of them.")
        seen.add(new)
        if old == "is_delete_operator_pod":
            value = self._finish_action(argument.value, keyword.value)
        else:
            self._check_type(new, keyword)
            value = self._keyword_value(new, argument.value, keyword.value)
        arguments.replace(argument, changed.with_changes(value=value))
        past = new in PAST_KEYWORDS and not _is_off(keyword.value)
        if past and spec.kind == "task" and not arguments.has("ignore_first_depends_on_past"):
            self._change("first-depends-on-past", keyword, "ignore_first_depends_on_past=True is written out")
            arguments.add("ignore_first_depends_on_past", "True")

    def _keyword_value(self, name: str, node: cst.BaseExpression, twin: ast.expr) -> cst.BaseExpression:
        match name, twin:
            case "default_args", ast.Dict():
                return self._default_args_dict(cast("cst.Dict", node), twin)
            case "trigger_rule", ast.Constant(value=str(rule)):
                return self._trigger_rule(node, twin, rule)
            case "retry_exponential_backoff", ast.Constant(value=bool(on)):
                new = "2.0" if on else "0.0"
                self._change("retry-backoff", twin, f"retry_exponential_backoff={on} is {new}")
                return cst.Float(new)
            case "schedule", ast.Constant(value=str(text)) if text[:1] == "@" and text not in SCHEDULE_PRESETS:
                self._problem(twin, f"unknown schedule: {text}. Known are {', '.join(sorted(SCHEDULE_PRESETS))}.")
        return self._value(node, twin, template=name not in TEXT_KEYWORDS)

    def _finish_action(self, node: cst.BaseExpression, twin: ast.expr) -> cst.BaseExpression:
        if isinstance(twin, ast.Constant) and isinstance(twin.value, bool):
            return cst.SimpleString('"delete_pod"' if twin.value else '"keep_pod"')
        self._problem(twin, "is_delete_operator_pod is known with True and False only. Write it out.")
        return node

    def _check_type(self, name: str, keyword: ast.keyword) -> None:
        for kind, names in KEYWORD_TYPES.items():
            if name in names and not self._is_of(kind, keyword.value):
                self._problem(keyword, f"{keyword.arg} must be {kind}, not {ast.unparse(keyword.value)[:80]}.")

    def _is_of(self, kind: str, twin: ast.expr) -> bool:
        match twin:
            case ast.Constant(value=None) | ast.Name() | ast.Attribute():
                return True
            case ast.Constant(value=bool()):
                return kind == "True or False"
            case ast.Constant(value=int()):
                return kind in {"a whole number", "a duration"}
            case ast.Constant(value=float()):
                return kind == "a duration"
            case ast.Constant(value=str()) | ast.JoinedStr():
                return kind == "a text"
            case ast.UnaryOp(operand=operand):
                return self._is_of(kind, operand)
            case ast.BinOp(left=left):
                return self._is_of(kind, left)
            case ast.List() | ast.Tuple():
                return kind == "a list"
            case ast.Dict():
                return kind == "a dict"
            case ast.Call():
                return kind == _RETURNS.get(self._called(twin) or "", kind)
        return True  # What it is, is reported where values are checked.

    def _trigger_rule(self, node: cst.BaseExpression, twin: ast.Constant, rule: str) -> cst.BaseExpression:
        if new := TRIGGER_RULES_RENAMED.get(rule):
            self._change("trigger-rule", twin, f"the trigger rule {rule} is {new}")
            return _literal(new, node)
        if rule not in TRIGGER_RULES:
            self._problem(twin, f"unknown trigger rule: {rule}. Known are {', '.join(sorted(TRIGGER_RULES))}.")
        return node

    def _defaults(self, spec: Call, twin: ast.Call, arguments: _Arguments, seen: set[str]) -> None:
        """Write out what a DAG left to a default that Airflow 3.3 changed."""
        if spec.kind != "dag":
            return
        if "schedule" not in seen:
            day = self._one_day()
            if day is None:
                self._problem(
                    twin, "The DAG has no schedule, and datetime is not imported to write 2.10's default. Give one."
                )
            else:
                self._change("dag-schedule-default", twin, f"schedule={day} is written out")
                arguments.add("schedule", day)
        if "catchup" not in seen:
            self._change("dag-catchup-default", twin, "catchup=False is written out")
            arguments.add("catchup", "False")
        if self._tasks_start and "start_date" not in seen:
            self._change("dag-start-date", twin, "start_date=None is written out")
            arguments.add("start_date", "None")

    def _one_day(self) -> str | None:
        for name, target in self._names.items():
            if target == "datetime":
                return f"{name}.timedelta(days=1)"
            if target == "datetime.timedelta":
                return f"{name}(days=1)"
        return None

    def _default_args_dict(self, node: cst.Dict, twin: ast.Dict) -> cst.Dict:
        keys = [key.value if isinstance(key, ast.Constant) else None for key in twin.keys]
        written = "ignore_first_depends_on_past" in keys
        new: list[cst.BaseDictElement] = []
        for element, key, name, value in zip(node.elements, twin.keys, keys, twin.values, strict=True):
            if not isinstance(element, cst.DictElement) or not isinstance(name, str) or key is None:
                self._problem(key or value, "Keys of default_args are known as constants only. Write them out.")
                continue
            if why := DROPPED["task"].get(name):
                self._change("keyword-dropped", key, f'"{name}" is left out of default_args: {why}')
                continue
            renamed = TASK_RENAMES.get(name, name)
            changed = element
            if renamed != name:
                self._change(KEYWORD_RULES[name], key, f'"{name}" is "{renamed}" in default_args')
                changed = element.with_changes(key=_literal(renamed, element.key))
            if renamed not in DEFAULT_ARGS_KEYS:
                known = f"Airflow would ignore it. Known are: {', '.join(sorted(DEFAULT_ARGS_KEYS))}."
                self._problem(key, f"unknown key of default_args: {name}. {REFUSED_KEYWORDS.get(name, known)}")
            if keys.count(renamed) + keys.count(name) > (2 if renamed == name else 1):
                self._problem(key, f"default_args has {renamed} twice. Give it once.")
            self._check_type(renamed, ast.keyword(arg=name, value=value, lineno=key.lineno))
            new.append(changed.with_changes(value=self._keyword_value(renamed, element.value, value)))
            past = renamed in PAST_KEYWORDS and not _is_off(value)
            if past and not written:
                self._change("first-depends-on-past", key, '"ignore_first_depends_on_past": True is written out')
                written = True
                new[-1] = new[-1].with_changes(comma=_separator([e.comma for e in node.elements]))
                addition = _literal("ignore_first_depends_on_past", element.key)
                new.append(cst.DictElement(addition, cst.Name("True"), comma=element.comma))
        return node.with_changes(elements=new)

    # Reports

    def _change(self, rule: str, twin: ast.AST, what: str) -> None:
        self.changes.append(Change(rule, _line(twin), what))

    def _problem(self, twin: ast.AST, reason: str) -> None:
        self.problems.append(Problem(_line(twin), reason))


@dataclass
class _Gone:
    """A statement that is left out, and the blank lines and comments above it."""

    lines: list[cst.EmptyLine]


class _Arguments:
    """The arguments of a call while they change. Their commas and line breaks stay."""

    def __init__(self, arguments: list[cst.Arg]) -> None:
        self.result = arguments
        self.touched = False
        self._commas = [argument.comma for argument in arguments]
        self._names = {argument.keyword.value for argument in arguments if argument.keyword}
        self._at = len(arguments)
        """Where an addition goes: behind the argument that was looked at last."""

    def has(self, name: str) -> bool:
        return name in self._names

    def replace(self, old: cst.Arg, new: cst.Arg) -> None:
        at = self._index(old)
        self._at = at + 1
        if new.value is not old.value or new.keyword is not old.keyword:
            self.result[at] = new
            self.touched = True

    def remove(self, old: cst.Arg) -> None:
        at = self._index(old)
        last = at == len(self.result) - 1
        del self.result[at]
        self.touched = True
        if last and self.result:
            end = self.result[-1]
            self.result[-1] = end.with_changes(comma=old.comma, whitespace_after_arg=old.whitespace_after_arg)
        self._at = len(self.result)

    def add(self, name: str, value: str) -> None:
        added = cst.Arg(
            cst.parse_expression(value),
            keyword=cst.Name(name),
            equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
        )
        at = self._at
        separator = _separator(self._commas)
        if at:
            before = self.result[at - 1]
            if at < len(self.result):
                added = added.with_changes(comma=separator)
            else:
                added = added.with_changes(comma=before.comma, whitespace_after_arg=before.whitespace_after_arg)
                self.result[at - 1] = before.with_changes(
                    comma=separator, whitespace_after_arg=cst.SimpleWhitespace("")
                )
        self.result.insert(at, added)
        self._names.add(name)
        self._at = at + 1
        self.touched = True

    def _index(self, argument: cst.Arg) -> int:
        return next(at for at, other in enumerate(self.result) if other is argument)


def _separator(commas: Sequence[cst.Comma | cst.MaybeSentinel]) -> cst.Comma:
    """A comma between two items as this call or dict has them, without the comment that may follow one."""
    first = commas[0] if len(commas) > 1 else None
    if isinstance(first, cst.Comma) and isinstance(first.whitespace_after, cst.ParenthesizedWhitespace):
        space = first.whitespace_after
        return cst.Comma(whitespace_after=cst.ParenthesizedWhitespace(indent=space.indent, last_line=space.last_line))
    return cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))


def _uses(tree: ast.Module) -> tuple[set[str], set[str], set[str]]:
    """Names that are read; of them those that only hold prose; and those that are ``default_args=`` of something."""
    used: set[str] = set()
    prose: set[str] = set()
    default_args: set[str] = set()
    elsewhere: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.add(node.id)
            elsewhere[node.id] = elsewhere.get(node.id, 0) + 1
        elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Name):
            if node.arg in TEXT_KEYWORDS:
                prose.add(node.value.id)
                elsewhere[node.value.id] = elsewhere.get(node.value.id, 0) - 1
            elif node.arg == "default_args":
                default_args.add(node.value.id)
    return used, {name for name in prose if not elsewhere[name]}, default_args


_ESCAPE = re.compile(r"\\(?:\r?\n|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|.)", re.DOTALL)

_Piece = tuple[str, int, int, int]
"""A character of a string's value: the character, the part of the literal that it is in, and where it starts and ends there."""


def _pieces(node: cst.BaseExpression) -> list[_Piece]:
    """A string literal's value, character by character, with where each one is written."""
    raw = "r" in _prefix_of(node).lower()
    pieces: list[_Piece] = []
    for part, text in enumerate(_part_texts(node)):
        if isinstance(node, cst.FormattedString) and not isinstance(node.parts[part], cst.FormattedStringText):
            pieces.append((_HOLE, part, 0, len(text)))
            continue
        at = 0
        while at < len(text):
            escape = None if raw else _ESCAPE.match(text, at)
            end = escape.end() if escape else at + 1
            if isinstance(node, cst.FormattedString) and text[at:end] in "{}" and text[end : end + 1] == text[at]:
                end += 1
                pieces.append((text[at], part, at, end))
            elif escape:
                pieces += [(character, part, at, end) for character in _unescaped(escape[0])]
            else:
                pieces.append((text[at], part, at, end))
            at = end
    return pieces


def _unescaped(escape: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(ast.literal_eval(f'"""{escape}"""'))


def _part_texts(node: cst.BaseExpression) -> list[str]:
    if isinstance(node, cst.FormattedString):
        return [part.value if isinstance(part, cst.FormattedStringText) else "" for part in node.parts]
    return [cast("cst.SimpleString", node).raw_value]


def _with_part_texts(node: cst.BaseExpression, texts: Sequence[str]) -> cst.BaseExpression:
    if isinstance(node, cst.FormattedString):
        parts = [
            part.with_changes(value=text) if isinstance(part, cst.FormattedStringText) else part
            for part, text in zip(node.parts, texts, strict=True)
        ]
        return node.with_changes(parts=parts)
    return node.with_changes(value=f"{_prefix_of(node)}{_quote_of(node)}{texts[0]}{_quote_of(node)}")


def _prefix_of(node: cst.BaseExpression) -> str:
    if isinstance(node, cst.FormattedString):
        return node.start.rstrip("'\"")
    return cast("cst.SimpleString", node).value.partition(_quote_of(node))[0]


def _quote_of(node: cst.BaseExpression) -> str:
    if isinstance(node, cst.FormattedString):
        return node.end
    return node.quote if isinstance(node, cst.SimpleString) else '"'


def _lines_before(node: cst.BaseExpression, part: int, at: int) -> int:
    texts = _part_texts(node)
    return sum(text.count("\n") for text in texts[:part]) + texts[part][:at].count("\n")


def _text(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)


@lru_cache(maxsize=256)
def _dotted(path: str) -> cst.BaseExpression:
    return cst.parse_expression(path)


def _path(twin: ast.expr) -> list[str] | None:
    """``a.b.c`` as its names."""
    names: list[str] = []
    while isinstance(twin, ast.Attribute):
        names.append(twin.attr)
        twin = twin.value
    return [twin.id, *reversed(names)] if isinstance(twin, ast.Name) else None


def _literal(text: str, like: cst.BaseExpression) -> cst.SimpleString:
    quote = _quote_of(like)
    return cst.SimpleString(f"{quote}{text}{quote}")


def _is_off(twin: ast.expr) -> bool:
    return isinstance(twin, ast.Constant) and not twin.value


def _line(twin: ast.AST) -> int:
    return int(getattr(twin, "lineno", 1))


_STATEMENTS: dict[type[ast.AST], str] = {
    ast.For: "A loop",
    ast.While: "A loop",
    ast.If: "A condition",
    ast.FunctionDef: "A function",
    ast.AsyncFunctionDef: "A function",
    ast.ClassDef: "A class",
    ast.Try: "try",
    ast.ImportFrom: "An import that shares its line",
    ast.Assign: "An assignment to anything but one name",
    ast.AugAssign: "An assignment that changes a value",
    ast.AnnAssign: "An annotated assignment",
    ast.Delete: "del",
    ast.Raise: "raise",
    ast.Assert: "assert",
    ast.Match: "match",
    ast.Global: "global",
}
_EXPRESSIONS: dict[type[ast.AST], str] = {
    ast.Lambda: "A lambda",
    ast.ListComp: "A comprehension",
    ast.DictComp: "A comprehension",
    ast.SetComp: "A comprehension",
    ast.GeneratorExp: "A comprehension",
    ast.IfExp: "A condition",
    ast.Compare: "A comparison",
    ast.BoolOp: "A condition",
    ast.BinOp: "Arithmetic other than +",
    ast.UnaryOp: "An operator",
    ast.Subscript: "A subscript",
    ast.Starred: "A starred value",
    ast.Set: "A set",
    ast.Constant: "A constant of this type",
    ast.NamedExpr: "An assignment inside an expression",
}
_RETURNS = {"datetime.timedelta": "a duration", "datetime.datetime": "a date"}
_PLACES = {
    "dag": "Write `with DAG(...) as dag:`.",
    "group": "Write `with TaskGroup(...) as name:` or `name = TaskGroup(...)`.",
    "task": "Write `name = Operator(...)`.",
    "value": "Give it to a keyword, or assign it to a name.",
}
_KNOWN_CALLS = ", ".join(sorted({name.rpartition(".")[2] for name in CALLS}))
_KNOWN_IMPORTS = (
    "Generated files import nothing else than what they call, of modules that are listed in wtmo/imports/contract.py. "
    "Add it there once this platform has it."
)
