"""Label and field selectors: ``a=b,c!=d,e in (f,g),h notin (i),j,!k`` and ``involvedObject.name=x``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wtmo.local.pods.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEY = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9._-]*"
_REQUIREMENT = re.compile(
    rf"\s*(?:"
    rf"!\s*(?P<absent>{_KEY})"
    rf"|(?P<set_key>{_KEY})\s+(?P<set_operator>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|(?P<key>{_KEY})\s*(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})"
    rf"|(?P<present>{_KEY})"
    rf")\s*(?:,|$)"
)


def label_selector(text: str) -> Callable[[Mapping[str, str]], bool]:
    """A function that says whether labels match. An empty text matches everything.

    ``a!=b`` and ``a notin (b)`` also match where there is no label ``a``, as in Kubernetes.

    :raises ApiError: 400 for a text that is no selector.
    """
    requirements: list[Callable[[Mapping[str, str]], bool]] = []
    position = 0
    while position < len(text):
        match = _REQUIREMENT.match(text, position)
        if match is None:
            raise bad_request(f"unable to parse requirement: found {text[position : position + 60]!r} in labelSelector")
        requirements.append(_requirement(match))
        position = match.end()
    return lambda labels: all(requirement(labels) for requirement in requirements)


def _requirement(match: re.Match[str]) -> Callable[[Mapping[str, str]], bool]:
    if absent := match["absent"]:
        return lambda labels: absent not in labels
    if present := match["present"]:
        return lambda labels: present in labels
    if key := match["set_key"]:
        values = {value.strip() for value in match["values"].split(",")}
        negated = match["set_operator"] == "notin"
    else:
        key, values, negated = match["key"], {match["value"]}, match["operator"] == "!="
    if negated:
        return lambda labels: labels.get(key) not in values
    return lambda labels: labels.get(key) in values


def field_selector(text: str, allowed: frozenset[str]) -> Callable[[Mapping[str, Any]], bool]:
    """A function that says whether an object's fields match. An empty text matches everything.

    :param allowed: the dotted paths that may be selected by.
    :raises ApiError: 400 for a text that is no selector, or for any other path.
    """
    requirements: list[tuple[list[str], str, bool]] = []
    for part in filter(None, text.split(",")):
        path, operator, value = re.split(r"(==|!=|=)", part, maxsplit=1) if "=" in part else (part, "", "")
        if not operator or path not in allowed:
            raise bad_request(f"field label not supported: {part!r}; use one of {', '.join(sorted(allowed))}")
        requirements.append((path.split("."), value, operator == "!="))

    def matches(item: Mapping[str, Any]) -> bool:
        for path, value, negated in requirements:
            found: Any = item
            for name in path:
                found = found.get(name, "") if isinstance(found, dict) else ""
            if (found == value) == negated:
                return False
        return True

    return matches
