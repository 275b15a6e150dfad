"""A YAML file as plain values, with the line of each.

Owns everything that can be wrong with the file as YAML. Other modules know the meaning of the values. Only plain data is
accepted: tags and merge keys are refused, scalars that YAML reads in surprising ways stay text.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from kubewright.errors import BadInput, Problem
from kubewright.spec.wording import Finding, Place, dotted, shown

Value = str | int | float | bool | list["Value"] | dict[str, "Value"] | None

MOST_VALUES = 500_000
"""A file of this many values is not a cluster: aliases of aliases can write a billion in ten lines."""

_TAG = "tag:yaml.org,2002:"
_PLAIN = ("str", "int", "float", "bool", "null", "timestamp", "map", "seq")
_WORDS = {"true": True, "yes": True, "on": True, "y": True, "false": False, "no": False, "off": False, "n": False}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})", re.ASCII)


@dataclass(kw_only=True)
class Document:
    """`data` is the file's value, `lines` the line (from 1) of every place, `written` the scalars that are not text, as
    written."""

    name: str
    data: Value = None
    lines: dict[Place, int] = field(default_factory=dict)
    written: dict[Place, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def line(self, place: Place) -> int:
        """The line of the place, or of the nearest one around it that is written."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def problem(self, finding: Finding) -> Problem:
        where = f"{self.name}:{self.line(finding.at)} {dotted(finding.at)}".rstrip()
        return Problem(where=where, what=finding.what, allowed=finding.allowed, todo=finding.todo)


def parse(raw: bytes, *, name: str) -> Document:
    """Read a YAML document; faults inside it (a repeated key, a tag) are in its `findings`.

    Raises BadInput if the bytes are no YAML document at all.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _unreadable(name, line, f"not UTF-8 (byte 0x{raw[error.start]:02x})", "save the file as UTF-8") from None
    document = Document(name=name)
    try:
        with warnings.catch_warnings():
            # YAML allows an anchor to be defined twice; a warning about it would only disturb.
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            root = YAML(typ="safe", pure=True).compose(text)
        if root is not None:
            document.data = _Reader(document).value(root, ())
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"a character that YAML forbids ({shown(text[error.position])})"
        raise _unreadable(name, line, what, "remove it") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise _unreadable(name, mark.line + 1 if mark else 1, f"not YAML ({shown(what, limit=120)})") from None
    except RecursionError:
        raise _unreadable(name, 1, "nested too deeply", "write it flatter") from None
    except (YAMLError, ValueError, AssertionError, LookupError, AttributeError, TypeError) as error:
        # For some malformed files (a broken %YAML directive) the parser raises errors that are not YAMLError.
        raise _unreadable(name, 1, f"not YAML ({shown(str(error), limit=120)})") from None
    return document


def _unreadable(name: str, line: int, what: str, todo: str = "correct the syntax at or just above this line") -> BadInput:
    return BadInput([Problem(where=f"{name}:{line}", what=what, allowed="one YAML document in UTF-8", todo=todo)])


class _Reader:
    """Turns one document's nodes into values, and notes lines and findings on the way."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.around: set[int] = set()  # the ids of the nodes around the current one
        self.left = MOST_VALUES

    def value(self, node: Node, place: Place) -> Value:
        self.document.lines.setdefault(place, node.start_mark.line + 1)
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"more than {MOST_VALUES} values, counting what aliases repeat")
        if id(node) in self.around:
            what = "an alias to something that it is part of"
            self._find(place, what, "plain values", "write the value out")
            return None
        tag = str(node.tag or "")
        if tag.removeprefix(_TAG) not in _PLAIN:
            self._find(place, f"a YAML tag ({shown(tag)})", "plain values", "remove the tag")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, place, tag[len(_TAG) :])
        self.around.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
            return dict(self._entries(node, place)) if isinstance(node, MappingNode) else None
        finally:
            self.around.discard(id(node))

    def _entries(self, node: MappingNode, place: Place) -> Iterator[tuple[str, Value]]:
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                at = (*place, "?")  # as YAML writes such a key
                self.document.lines[at] = line
                self._find(at, "a key that is a list or a mapping", "plain words as keys", "write a word")
            elif key.tag == _TAG + "merge":
                at = (*place, "<<")
                self.document.lines[at] = line
                self._find(at, "a merge key", "plain keys", "write the merged settings out")
            elif key.value in first:
                at = (*place, key.value)
                self.document.lines[at] = line
                self._find(
                    at,
                    f"written twice ({shown(key.value)})",
                    "each key once",
                    f"keep this line or line {first[key.value]}, remove the other",
                )
            else:
                first[key.value] = line
                self.document.lines[(*place, key.value)] = line
                yield key.value, self.value(value, (*place, key.value))

    def _scalar(self, node: ScalarNode, place: Place, kind: str) -> Value:
        text = str(node.value)
        value: Value = text
        if kind == "null":
            return None
        if kind == "bool":
            value = _WORDS.get(text.lower(), text)
        elif kind == "int" and _WHOLE.fullmatch(text):
            # 0x1f, 0o17, 017 and 1_000 stay text: readers of YAML 1.1 and 1.2 disagree about them.
            value = int(text)
        elif kind == "float":
            value = _float(text)
        if value is not text:
            self.document.written[place] = text
        return value

    def _find(self, place: Place, what: str, allowed: str, todo: str) -> None:
        self.document.findings.append(Finding(at=place, what=what, allowed=allowed, todo=todo))


def _float(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
