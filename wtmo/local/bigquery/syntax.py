"""Parse trees of GoogleSQL, and edits of the text at places that a parse tree names.

The parser's answer nests deeper than the 100 levels that protobuf decodes, so :func:`decode` reads the wire format
itself. A
:class:`Node` leaves out what only serves the encoding: base-class messages (``parent``) and ``Any..`` unions are folded
    into the node.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor

POSITIONAL = "positional_parameter_"
"""Before the number of a ``?`` parameter: the evaluator takes values of named parameters only."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(slots=True, eq=False)
class Node:
    """One node of a parse tree.

    ``kind`` is ZetaSQL's class without ``AST`` (``QueryStatement``); ``start`` and ``end`` are byte offsets into the
    parsed text.
    """

    kind: str = ""
    start: int = 0
    end: int = 0
    nodes: dict[str, list[Node]] = field(default_factory=dict)
    values: dict[str, int | str] = field(default_factory=dict)

    def child(self, name: str) -> Node | None:
        """The only or first child in a field."""
        return self.nodes[name][0] if name in self.nodes else None

    def need(self, name: str) -> Node:
        """The child in a field that the grammar demands.

        :raises LookupError: it is not there.
        """
        child = self.child(name)
        if child is None:
            raise LookupError(f"{self.kind} has no {name}")
        return child

    def children(self, name: str) -> list[Node]:
        """All children in a repeated field."""
        return self.nodes.get(name, [])

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in no order that matters."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            for children in node.nodes.values():
                stack.extend(children)

    def path(self) -> tuple[str, ...]:
        """The names of a ``PathExpression``."""
        return tuple(str(name.values["id_string"]) for name in self.children("names"))


def decode(data: bytes, descriptor: Descriptor) -> Node:
    """Read a serialized ``AST...Proto`` of any depth."""
    root = Node(kind=_kind(descriptor.name))
    stack = [(descriptor, 0, len(data), root)]
    while stack:
        message, position, end, node = stack.pop()
        while position < end:
            key, position = _varint(data, position)
            wire_type = key & 7
            known = message.fields_by_number.get(key >> 3)
            if wire_type == _VARINT:
                value, position = _varint(data, position)
                if known:
                    node.values[known.name] = value
                continue
            if wire_type != _BYTES:
                position += {_FIXED64: 8, _FIXED32: 4}[wire_type]
                continue
            size, start = _varint(data, position)
            position = start + size
            if not known:
                continue
            inner = known.message_type
            if inner is None:
                node.values[known.name] = data[start:position].decode(errors="replace")
            elif known.name == "parent" or inner.name == "ParseLocationRangeProto":
                stack.append((inner, start, position, node))
            elif message.name.startswith("Any"):
                node.kind = _kind(inner.name)
                stack.append((inner, start, position, node))
            else:
                child = Node(kind=_kind(inner.name))
                node.nodes.setdefault(known.name, []).append(child)
                stack.append((inner, start, position, child))
        if message.name == "ParseLocationRangeProto":
            node.start, node.end = int(node.values.pop("start", 0)), int(node.values.pop("end", 0))
            node.values.pop("filename", None)
    return root


def submessages(data: bytes, descriptor: Descriptor, *path: str) -> list[tuple[Descriptor, bytes]]:
    """The messages at the end of a path of field names, undecoded, each with its type."""
    found = [(descriptor, data)]
    for name in path:
        inner: list[tuple[Descriptor, bytes]] = []
        for message, content in found:
            wanted, position = message.fields_by_name[name], 0
            while position < len(content):
                key, position = _varint(content, position)
                if key & 7 == _VARINT:
                    _, position = _varint(content, position)
                elif key & 7 == _BYTES:
                    size, start = _varint(content, position)
                    position = start + size
                    if key >> 3 == wanted.number and wanted.message_type:
                        inner.append((wanted.message_type, content[start:position]))
                else:
                    position += {_FIXED64: 8, _FIXED32: 4}[key & 7]
        found = inner
    return found


def _kind(message_name: str) -> str:
    return message_name.removeprefix("AST").removesuffix("Proto")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    value, shift = byte & 0x7F, 7
    while True:
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7


@dataclass
class Edits:
    """Replacements of byte ranges of one text, and the way back from places in the result to places in the text."""

    source: bytes
    _edits: list[tuple[int, int, bytes]] = field(default_factory=list)

    def replace(self, start: int, end: int, text: str) -> None:
        """Put ``text`` in place of the bytes ``start`` to ``end``; edits must not overlap."""
        bisect.insort(self._edits, (start, end, text.encode()))

    def apply(self, start: int = 0, end: int | None = None) -> str:
        """The edited text of a byte range; what lies before the range is blanked, so that lines and columns stay
        right.
        """
        end = len(self.source) if end is None else end
        pieces, position = [re.sub(rb"[^\n]", b" ", self.source[:start])], start
        for first, last, text in self._edits:
            if start <= first and last <= end:
                pieces += [self.source[position:first], text]
                position = last
        pieces.append(self.source[position:end])
        return b"".join(pieces).decode()

    def original_place(self, line: int, column: int, start: int = 0) -> tuple[int, int]:
        """Where in the source lies a line and column (both from 1) of what ``apply(start, ...)`` gave."""
        edited = self.apply(start).split("\n")
        if line > len(edited):
            return line, column
        # Offset in the edited text, walked back over the edits before it.
        offset = sum(len(text.encode()) + 1 for text in edited[: line - 1]) + len(
            edited[line - 1][: column - 1].encode()
        )
        shift = 0
        for first, last, text in self._edits:
            if first < start:
                continue
            if first + shift >= offset:
                break
            if offset < first + shift + len(text):
                offset = first + shift
                break
            shift += len(text) - (last - first)
        head = self.source[: max(offset - shift, 0)].decode(errors="replace")
        return head.count("\n") + 1, len(head) - (head.rfind("\n") + 1) + 1


def quoted(name: str) -> str:
    """An identifier in backticks."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def encoded_varint(value: int) -> bytes:
    """A protobuf varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
