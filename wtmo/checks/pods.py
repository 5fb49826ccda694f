"""Rules of pods: that Kubernetes takes the manifest, and that the command says what was meant.

The limits are those of Kubernetes' own validation (``pkg/apis/core/validation`` and ``apimachinery/pkg/util/validation`` of 1.33) and,
for the length of arguments, of Linux.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from typing import TYPE_CHECKING

from utils.pod_sizes import POD_SIZES
from wtmo.checks.rule import Finding, Look, Severity, of_dag, of_task, rule
from wtmo.checks.words import words
from wtmo.imports.templates import is_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wtmo.checks.words import Word
    from wtmo.graph.model import Dag, Json, Task

MOST_BYTES = 1_500_000
"""Of an object that the cluster's etcd stores."""
MOST_OF_A_WORD = 131_071
"""Bytes of one argument or one variable of a program (Linux: MAX_ARG_STRLEN, with its final zero)."""
MOST_OF_ANNOTATIONS = 262_144

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_SUBDOMAIN = 253
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[-._A-Za-z][-._A-Za-z0-9]*")
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d+)?")
_FACTORS = {
    "": 1.0,
    **{name: 10.0**power for name, power in zip("num", (-9, -6, -3), strict=True)},
    **{name: 10.0**power for name, power in zip("kMGTPE", (3, 6, 9, 12, 15, 18), strict=True)},
    **{f"{name}i": 1024.0**power for power, name in enumerate("KMGTPE", 1)},
}
_OF_A_RUN = re.compile(r"<[A-Za-z_]\w*[.\[(][^<>]*>")
_IMAGE_PULL_POLICIES = {"Always", "IfNotPresent", "Never"}
_RESTART_POLICIES = {"Always", "OnFailure", "Never"}
_MOST_SHOWN = 3
_LONGEST = 80


def _pods(look: Look) -> Iterator[tuple[Dag, Task, Mapping[str, Json]]]:
    for dag, task in look.tasks():
        if task.pod is not None:
            yield dag, task, task.pod


def _containers(pod: Mapping[str, Json]) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """All containers, each with what to call it."""
    spec = pod.get("spec") or {}
    for kind in ("containers", "initContainers"):
        for number, container in enumerate(spec.get(kind) or []):
            yield f"container {container.get('name') or number}", container


def _shown(value: Json) -> str:
    said = repr(value)
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more


@rule(
    "POD001",
    "A pod that can't be put together here can't be when the task runs.",
    fix="Mend the argument that the message names.",
)
def pod_is_built(look: Look) -> Iterator[Finding]:
    """The manifest of every pod task can be built with a sample run."""
    for dag, task in look.tasks():
        if task.pod_error is not None and not any(template.error for template in task.templates):
            yield of_task(dag, task, f"its pod can't be built: {task.pod_error}")


@rule(
    "POD002",
    "Kubernetes refuses the whole pod over one name that is not of its form.",
    fix="Use lower-case letters, digits and '-', at most 63, beginning and ending with a letter or digit; in labels also capitals, "
    "'_' and '.'.",
)
def pod_names(look: Look) -> Iterator[Finding]:
    """Names, labels, annotations, node selectors and the fields with fixed words are of the form that Kubernetes takes.

    The pod's own name is not looked at: the operator makes a valid one of it.
    """
    for dag, task, pod in _pods(look):
        for problem in _names(pod):
            yield of_task(dag, task, problem)


def _names(pod: Mapping[str, Json]) -> Iterator[str]:
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    yield from _label("the namespace", metadata.get("namespace"))
    for what, found in (("label", metadata.get("labels")), ("node selector", spec.get("nodeSelector"))):
        for key, value in (found or {}).items():
            yield from _key(what, key)
            if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(_filled(value)):
                yield f"the value of {what} {key} is {_shown(value)}, which is no label value"
    for key, value in (metadata.get("annotations") or {}).items():
        yield from _key("annotation", key.lower())
        if not isinstance(value, str):
            yield f"the value of annotation {key} is {_shown(value)}, not a text"
    yield from _subdomain("the service account", spec.get("serviceAccountName"))
    yield from _subdomain("the priority class", spec.get("priorityClassName"))
    if (policy := spec.get("restartPolicy", "Never")) not in _RESTART_POLICIES:
        yield f"restartPolicy is {policy!r}, not one of {', '.join(sorted(_RESTART_POLICIES))}"
    names = []
    for what, container in _containers(pod):
        names.append(container.get("name"))
        yield from _label(f"the name of {what}", container.get("name") or "")
        if (policy := container.get("imagePullPolicy", "Always")) not in _IMAGE_PULL_POLICIES:
            yield f"imagePullPolicy is {policy!r}, not one of {', '.join(sorted(_IMAGE_PULL_POLICIES))}"
        image = container.get("image")
        if not isinstance(image, str) or not image or any(sign.isspace() for sign in _filled(image)):
            yield f"the image of {what} is {_shown(image)}, which is no image's name"
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        yield f"two containers are named {name!r}"


def _label(what: str, value: Json) -> Iterator[str]:
    if value is not None and (not isinstance(value, str) or not _LABEL.fullmatch(_filled(value))):
        yield f"{what} is {_shown(value)}, which is no DNS label"


def _subdomain(what: str, value: Json) -> Iterator[str]:
    if value is None:
        return
    name = _filled(value) if isinstance(value, str) else ""
    if len(name) > _LONGEST_SUBDOMAIN or not _SUBDOMAIN.fullmatch(name):
        yield f"{what} is {_shown(value)}, which is no DNS name of at most {_LONGEST_SUBDOMAIN} characters"


def _filled(text: str) -> str:
    """A text with a letter in place of what only a run has, ``<ti.xcom_pull('a')>``: that may be right, the rest is judged."""
    return _OF_A_RUN.sub("x", text)


def _key(what: str, key: str) -> Iterator[str]:
    prefix, slash, name = key.rpartition("/")
    good = _QUALIFIED.fullmatch(name) and (not slash or _SUBDOMAIN.fullmatch(prefix))
    if not good or len(prefix) > _LONGEST_SUBDOMAIN:
        yield f"the name of {what} {_shown(key)} is not of the form [domain/]name with at most 63 characters"


@rule(
    "POD003",
    "Kubernetes refuses a pod over a variable whose value is no text, and of two with one name the program sees one.",
    fix="Give each variable a name of letters, digits, '_', '-' and '.', once, and a text as value: str(value).",
)
def pod_environment(look: Look) -> Iterator[Finding]:
    """Each environment variable of a pod has a valid name, once, and a text as its value.

    A secret and an ``env_vars`` of the same name are two of one name.
    """
    for dag, task, pod in _pods(look):
        for what, container in _containers(pod):
            seen: set[str] = set()
            for variable in container.get("env") or []:
                name, value = variable.get("name"), variable.get("value")
                if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
                    yield of_task(dag, task, f"{what} has a variable named {_shown(name)}, which is no variable's name")
                elif name in seen:
                    yield of_task(dag, task, f"{what} has the variable {name} twice")
                elif value is not None and not isinstance(value, str):
                    yield of_task(
                        dag,
                        task,
                        f"the variable {name} of {what} is {_shown(value)}, which is no text",
                        fix=f'Write "{name}": "{value}".',
                    )
                elif value is not None and variable.get("valueFrom"):
                    yield of_task(dag, task, f"the variable {name} of {what} has a value and a source of one")
                seen.add(str(name))


@rule(
    "POD004",
    "Kubernetes refuses a pod over a quantity that is none, or a request above its limit.",
    fix='Give resources="small" or another size of utils/pod_sizes.py, or quantities like "512Mi" and "500m".',
)
def pod_quantities(look: Look) -> Iterator[Finding]:
    """Requests and limits are quantities of Kubernetes, not negative, and no request is above its limit."""
    for dag, task, pod in _pods(look):
        for what, container in _containers(pod):
            resources = container.get("resources") or {}
            found: dict[str, dict[str, float]] = {"requests": {}, "limits": {}}
            for kind, amounts in found.items():
                for name, value in (resources.get(kind) or {}).items():
                    number = quantity(value)
                    if number is None:
                        yield of_task(dag, task, f"{kind}.{name} of {what} is {_shown(value)}, which is no quantity")
                    elif _is_milli_memory(name, value):
                        yield of_task(
                            dag,
                            task,
                            f"{kind}.{name} of {what} is {_shown(value)}: 'm' is a thousandth of a byte",
                            fix=f"Write {str(value)[:-1]}Mi.",
                        )
                    else:
                        amounts[name] = number
            for name in sorted(found["requests"].keys() & found["limits"].keys()):
                if found["requests"][name] > found["limits"][name]:
                    asked, limit = resources["requests"][name], resources["limits"][name]
                    yield of_task(dag, task, f"{what} requests {asked} of {name} and is limited to {limit}")


def quantity(value: Json) -> float | None:
    """A quantity of Kubernetes as a number. None: it is none, or negative.

    >>> quantity("1.5Gi"), quantity("500m"), quantity("1e3"), quantity("1GB"), quantity(True)
    (1610612736.0, 0.5, 1000.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = _QUANTITY.fullmatch(str(value))
    if found is None:
        return None
    number, suffix = float(found[1]), found[2] or ""
    amount = number * _FACTORS[suffix] if suffix in _FACTORS else float(f"{found[1]}{suffix}")
    return amount if amount >= 0 else None


def _is_milli_memory(name: str, value: Json) -> bool:
    return name in {"memory", "ephemeral-storage"} and isinstance(value, str) and value.endswith("m")


@rule(
    "POD005",
    "Kubernetes refuses a pod over an argument that is no text.",
    fix='Write each word of cmds and arguments as a text: "8", not 8.',
)
def pod_words(look: Look) -> Iterator[Finding]:
    """Every word of a pod's command and arguments is a text."""
    for dag, task, pod in _pods(look):
        for what, container in _containers(pod):
            for name in ("command", "args"):
                for number, word in enumerate(container.get(name) or []):
                    if not isinstance(word, str):
                        yield of_task(
                            dag,
                            task,
                            f"{name}[{number}] of {what} is {_shown(word)}, which is no text",
                            fix=f'Write "{word}".',
                        )


@rule(
    "POD006",
    "Kubernetes refuses a pod whose mounts and volumes don't fit.",
    fix="Give each mount the name of a volume of the pod, and a path of its own.",
)
def pod_volumes(look: Look) -> Iterator[Finding]:
    """Every mount names a volume of the pod and an absolute path, no path is used twice in a container, and no volume name twice."""
    for dag, task, pod in _pods(look):
        volumes = [volume.get("name") for volume in (pod.get("spec") or {}).get("volumes") or []]
        for problem in _volumes(volumes, pod):
            yield of_task(dag, task, problem)


def _volumes(volumes: Sequence[Json], pod: Mapping[str, Json]) -> Iterator[str]:
    for number, name in enumerate(volumes):
        yield from _label("the name of a volume", name or "")
        if name in volumes[:number]:
            yield f"two volumes are named {name!r}"
    for what, container in _containers(pod):
        paths: set[str] = set()
        for mount in container.get("volumeMounts") or []:
            name, path = mount.get("name"), mount.get("mountPath")
            if name not in volumes:
                yield f"{what} mounts the volume {name!r}, which the pod does not have (it has {_tell(volumes)})"
            if not isinstance(path, str) or not path or ":" in path:
                yield f"{what} mounts the volume {name!r} at {_shown(path)}, which is no path"
            elif path in paths:
                yield f"{what} mounts two volumes at {path}"
            paths.add(str(path))


def _tell(names: Iterable[Json]) -> str:
    return ", ".join(sorted(map(repr, names))) or "none"


@rule(
    "POD007",
    "What runs in a pod of a floating tag can change without a change of this repository, and take tier 1 with it.",
    fix="Give the image a version or a digest as its tag in utils/images.py.",
    severity=Severity.warning,
)
def floating_image(look: Look) -> Iterator[Finding]:
    """Images of tier 1 have a tag that names a version or a digest, not ``latest`` or ``prod``.

    One finding an image: it is pinned in one place.
    """
    users: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for dag, task in look.tasks():
        name, reference = task.image or (None, "")
        if name is not None and look.tier(dag) == "tier_1" and _floats(reference):
            users[name, reference].add((dag.dag_id, task.task_id))
    for (name, reference), tasks in sorted(users.items()):
        ids = sorted({dag_id for dag_id, _ in tasks})
        yield Finding(
            f"image {name!r} floats ({reference}), and tasks of tier 1 run it: {len(tasks)} of {_some(ids)}",
            file="utils/images.py",
        )


def _floats(reference: str) -> bool:
    """Whether a reference has no tag, or one without a digit (:attr:`utils.images.Image.floats`).

    A tag that is known when the task runs, of a variable, is one that somebody sets.
    """
    if "@" in reference or "<" in reference:
        return False
    _, colon, tag = reference.rpartition("/")[2].partition(":")
    return not colon or not any(character.isdigit() for character in tag)


@rule(
    "POD008",
    "A pod that asks for nothing is put where nothing is left, and is the first to be evicted.",
    fix=f'Give it resources="small" or another size of utils/pod_sizes.py: {", ".join(POD_SIZES)}.',
    severity=Severity.warning,
)
def pod_requests(look: Look) -> Iterator[Finding]:
    """Every pod of tier 1 requests memory. One finding a DAG; of imported DAGs, one a bundle."""
    silent: dict[str, list[Dag]] = defaultdict(list)
    for dag in look.dags.values():
        if look.tier(dag) != "tier_1":
            continue
        found = [
            task
            for task in dag.tasks
            if any(each.pod is not None and not _asks(each.pod) for each in (task, *task.instances))
        ]
        if not look.is_own(dag):
            silent[dag.bundle] += [dag] * len(found)
        elif len(found) == 1:
            yield of_task(dag, found[0], "its pod requests no memory")
        elif found:
            yield of_dag(dag, f"{len(found)} pods request no memory: {_some([task.task_id for task in found])}")
    for bundle, dags in sorted(silent.items()):
        ids = sorted({dag.dag_id for dag in dags})
        if ids:
            yield Finding(
                f"{len(dags)} pods of {len(ids)} DAGs of tier 1 request no memory: {_some(ids)}",
                "Give the pods of utils/gcp.py a size, or the generator of these files container_resources.",
                bundle,
            )


def _asks(pod: Mapping[str, Json]) -> bool:
    return all(
        "memory" in ((container.get("resources") or {}).get("requests") or {})
        for container in (pod.get("spec") or {}).get("containers") or []
    )


@rule(
    "POD009",
    "What is too long is refused by the cluster's store, or by Linux when the program starts.",
    fix="Put it into a file of the image, a bucket or a table, and give the program its name.",
)
def pod_size(look: Look) -> Iterator[Finding]:
    """The manifest, its annotations and each word of it are no longer than Kubernetes and Linux take."""
    for dag, task, pod in _pods(look):
        size = len(json.dumps(pod))
        if size > MOST_BYTES:
            yield of_task(dag, task, f"its pod's manifest has {size:,} bytes, and the cluster takes {MOST_BYTES:,}")
        annotations = (pod.get("metadata") or {}).get("annotations") or {}
        size = sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items())
        if size > MOST_OF_ANNOTATIONS:
            yield of_task(
                dag, task, f"its pod's annotations have {size:,} bytes, and Kubernetes takes {MOST_OF_ANNOTATIONS:,}"
            )
        for what, container in _containers(pod):
            named = {
                f"{name}[{at}]": word
                for name in ("command", "args")
                for at, word in enumerate(container.get(name) or [])
            }
            named |= {
                f"variable {each.get('name')}": f"{each.get('name')}={each['value']}"
                for each in container.get("env") or []
                if isinstance(each.get("value"), str)
            }
            for name, word in named.items():
                if isinstance(word, str) and (size := len(word.encode())) > MOST_OF_A_WORD:
                    yield of_task(
                        dag,
                        task,
                        f"{name} of {what} has {size:,} bytes, and Linux takes {MOST_OF_A_WORD:,} for one word",
                    )


@rule(
    "POD011",
    "What was not checked is not sound.",
    fix="Write it into the file where that can be done. What a task works out goes into arguments, of which any text is right.",
    severity=Severity.warning,
)
def pod_not_checked(look: Look) -> Iterator[Finding]:
    """All that a pod is made of is known before it runs, but for words of its command.

    What another task gives to ``expand``, to ``expand_kwargs`` or to an argument is not. A manifest is checked without annotations,
    labels, names and variables that are given so; without anything else there is none. Where the file itself says what a pod is
    expanded to, every instance is checked; of more than 50 the first 49 and the last. Of a mapped group, the first one.
    """
    for dag, task in look.tasks():
        names = ", ".join(task.unknown)
        if names and task.pod is not None:
            yield of_task(dag, task, f"its pod is checked without its {names}, which only a run has")
        elif names and task.pod_error is None:
            yield of_task(dag, task, f"its pod is not checked: only a run has its {names}")


# --- what was meant


_GLUED = (
    (re.compile(r"--[A-Za-z][\w-]*?[A-Za-z0-9](?P<flag>--)[A-Za-z]"), "a comma is missing between two flags"),
    (re.compile(r"(?<=[^\s=-])(?P<flag>--)[A-Za-z][\w-]*="), "a comma is missing before a flag"),
    (re.compile(r"(?<=\}\})(?P<flag>--)[A-Za-z]"), "a comma is missing before a flag"),
)
_TWO_FLAGS = re.compile(r"--[A-Za-z][\w-]*(=[^\s\"'-]\S*)?\s+--[A-Za-z]")
_OPERATORS = {"&&", "||", ";", "|", "&", ">", ">>", "<", "2>&1"}
_CHAINED = re.compile(r"\s(&&|\|\|)\s|;\s")
_SMART = {
    **dict.fromkeys("\u201c\u201d\u201e", '"'),
    **dict.fromkeys("\u2018\u2019", "'"),
    "\u00a0": "a blank",
    **dict.fromkeys("\u200b\ufeff", "nothing"),
}
_DASHES = re.compile(r"^[\u2013\u2014]\s*[A-Za-z]")
_SINGLE_BRACES = re.compile(
    r"(?<![{$%\w])\{\s*(?:ds|ds_nodash|ts|ts_nodash|logical_date|execution_date|run_id|data_interval_(?:start|end)"
    r"|params\.\w+|var\.(?:value|json)\.\w+|macros\.\w+\([^{}]*\))\s*(?:\|[^{}]*)?\}(?!\})"
)
_HALF_OPEN = re.compile(r"\{\{|\{%|%\}")
_VARIABLE_OF_SHELL = re.compile(r"(?<!\$)\$(?:[A-Z][A-Z0-9_]+\b|\{[A-Z][A-Z0-9_]+\})")


@rule(
    "POD010",
    "A word that was put together wrongly reaches the program as it is: no shell mends it.",
    fix="Write each word of the command as a text of its own, with a comma behind it.",
)
def command_as_meant(look: Look) -> Iterator[Finding]:
    """The words of a command say what was meant.

    - no two flags in one word: Python puts ``"--a" "--b"`` together where the comma between them is missing;
    - no blank at the beginning or the end of a word, and none in a program's name;
    - no typographic quotes or dashes, no invisible blanks;
    - no ``&&``, ``|``, ``;``, ``>`` and no ``$VARIABLE`` where no shell reads them;
    - quotes are closed, in a word and in a script that a shell reads;
    - no braces are left after rendering: ``{ds}`` is what is left of ``{{ds}}`` in an f-string.
    """
    for dag, task in look.tasks():
        for word in words(task):
            if isinstance(word.text, str) and isinstance(word.final, str):
                for problem, fix in _of_word(word):
                    yield of_task(dag, task, f"{word.field} is {_shown(word.text)}: {problem}", fix=fix)


def _of_word(word: Word) -> Iterator[tuple[str, str]]:
    text, final = str(word.text), str(word.final)
    yield from _of_any_word(text, final)
    if word.script:
        yield from _of_script(final)
        return
    if text != text.strip() and "\n" not in text.strip():
        yield "it begins or ends with a blank, which the program gets", f"Write {text.strip()!r}."
    if word.first and " " in text.strip():
        yield "a program's name has no blank", f"Write {', '.join(map(repr, text.split()))}."
    if "\n" in text.strip():
        return  # a program's text: a script, SQL, JSON
    for pattern, problem in _GLUED:
        if found := pattern.search(text):
            yield problem, f"Put a comma in front of {text[found.start('flag') :]!r}."
            return
    if _TWO_FLAGS.match(text):
        yield "two flags in one word, and no shell parts them", "Write each flag as a word of its own."
    if text.strip() in _OPERATORS:
        yield "no shell reads it, and the program gets it as a word", _NEEDS_A_SHELL
    elif _CHAINED.search(text) and not _is_json(final):
        yield "no shell reads it: it is one word of one program", _NEEDS_A_SHELL
    if found := _VARIABLE_OF_SHELL.search(text):
        name = found[0].strip("${}")
        yield "no shell puts the variable's value there", f"Write $({name}): Kubernetes fills that in."
    if text.count('"') % 2 and not _is_json(final):
        yield "a quote is not closed, and the program gets it", "Remove the quotes: each word is one argument anyway."


_NEEDS_A_SHELL = 'Use shell("... && ...") of utils/commands.py, or two tasks.'


def _of_any_word(text: str, final: str) -> Iterator[tuple[str, str]]:
    for sign, plain in _SMART.items():
        if sign in text:
            yield f"it has the typographic sign {sign!r}", f"Write {plain} in its place."
    if _DASHES.match(text):
        yield (
            f"it begins with the typographic dash {text[0]!r}",
            f"Write '--' in its place: {'--' + text[1:].lstrip()!r}.",
        )
    if found := _SINGLE_BRACES.search(final):
        yield f"{found[0]} is not rendered", f"Write {{{found[0]}}}; in an f-string {{{{{found[0]}}}}}."
    elif "{% raw" not in text and (found := _HALF_OPEN.search(final)) and (final != text or not is_template(text)):
        yield f"after rendering it still has {found[0]}", "Close the braces: {{ value }}."
    elif "}}" in text and "{{" not in text and text.count("{") != text.count("}"):
        yield "it has a }} that nothing opens", "Open the braces: {{ value }}."


def _of_script(script: str) -> Iterator[tuple[str, str]]:
    if "<<" in script:  # a here-document is no words of a shell
        return
    try:
        shlex.split(script, comments=True)
    except ValueError as error:
        said = "a quote is not closed" if "quotation" in str(error) else "it ends with a backslash"
        yield f"{said}: the shell refuses it", "Close it."


def _is_json(text: str) -> bool:
    """Whether a word is JSON, or a flag with JSON as its value."""
    for part in (text, text.partition("=")[2]):
        try:
            return isinstance(json.loads(part), dict | list)
        except ValueError:
            continue
    return False
