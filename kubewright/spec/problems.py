"""From pydantic's errors to findings a person can act on.

Owns the wording for wrong types, unknown keys and wrong choices; what a value must look like is said by `fields`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from kubewright.releases import SUPPORTED
from kubewright.spec.document import Document
from kubewright.spec.model import ClusterSpec, HostSpec
from kubewright.spec.sections import Settings
from kubewright.spec.wording import REFUSED, Finding, Place, closest, shown

_PASSWORD = re.compile(r"//.*@", re.DOTALL)
"""Up to the last @: a password may hold any character."""
_HOW = {
    "a mapping": "write `key: value` lines, indented",
    "a list": "begin each item with a dash on a line of its own, or write [ITEM, ITEM]",
}
_KINDS = {
    "string_type": "text",
    "string_unicode": "text",
    "int_type": "a whole number",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
}


def finding(error: ErrorDetails, document: Document) -> Finding | None:
    """What to tell about one error; None for an error that only follows from another."""
    place: Place = tuple(part for part in error["loc"] if part != "[key]")
    value, context, kind = error["input"], error.get("ctx", {}), error["type"]
    written = _written(place, document.written.get(place, value))
    if kind == REFUSED:
        what, allowed, todo = f"{context['what']} ({written})", context["allowed"], context["todo"]
    elif kind == "extra_forbidden":
        return _unknown_key(place)
    elif kind == "missing":
        what, allowed = "missing", _summary(place)
        todo = f"add `{place[-1]}:`"
    elif kind == "literal_error":
        return _wrong_choice(place, value, written, str(context["expected"]))
    elif kind in ("greater_than_equal", "less_than_equal"):
        least, most = _bounds(place)
        what, allowed, todo = (
            f"out of range ({written})",
            f"{least} to {most}",
            "choose a number in that range",
        )
    elif kind == "too_short":
        if value:  # its items were refused, each with an error of its own
            return None
        what, allowed, todo = "an empty list", _summary(place), "write at least one"
    else:
        return _wrong_kind(place, value, written, _KINDS.get(kind, "another kind of value"))
    return Finding(at=place, what=what, allowed=allowed, todo=todo)


def _written(place: Place, value: object) -> str:
    """The value for a message, without a misplaced password."""
    address = place[-1:] in (("mirror",), ("hosts_fetch_from",))
    if place[-1:] in (("sudo_password_env",), ("password_env",)) or (address and "@" in str(value)):
        return "not shown"
    if isinstance(value, str):
        value = _PASSWORD.sub("//...@", value)  # before it is shortened: the @ may be cut off
    return _PASSWORD.sub("//...@", shown(value))


def _wrong_kind(place: Place, value: object, written: str, expected: str) -> Finding:
    what = f"not {expected} ({written})"
    allowed, todo = expected, _HOW.get(expected, f"write {expected}")
    if place == ("kubernetes",):
        allowed = ", ".join(release.kubernetes for release in SUPPORTED)
    if value is None:
        field = _field(place)
        needed = field is not None and field.is_required()
        what, todo = "nothing is written here", f"write {expected}" + ("" if needed else " or remove the line")
    elif place == ("kubernetes",) and isinstance(value, int | float):
        default = ClusterSpec.model_fields["kubernetes"].default
        todo = f'YAML reads this as a number: write all three parts, like "{default}"'
    elif expected == "text" and isinstance(value, bool | int | float):
        todo = f'put it in quotes: "{written}"'
    elif expected == "a whole number" and isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
        todo = f"remove the quotes or leading zeros: {shown(value.lstrip('0') or '0')}"
    elif expected == "a list" and isinstance(value, str):
        todo = f"write [{written}]"
    return Finding(at=place, what=what, allowed=allowed, todo=todo)


def _wrong_choice(place: Place, value: object, written: str, expected: str) -> Finding:
    choices = expected.replace(" or ", ", ").replace("'", "").split(", ")
    guess = closest(value, choices) if isinstance(value, str) else None
    todo = f"did you mean {guess}?" if guess else "choose one of them"
    return Finding(at=place, what=f"not one of the choices ({written})", allowed=", ".join(choices), todo=todo)


def _unknown_key(place: Place) -> Finding:
    key = str(place[-1])
    siblings = list(_keys(_model(place[:-1]) or ClusterSpec))
    guess = closest(key, siblings)
    elsewhere = [name for name, model in _sections() if key in _keys(model)]
    if guess:
        todo = f"did you mean {guess}?"
    elif elsewhere:
        todo = f"it belongs under {' or '.join(elsewhere)}"
    else:
        todo = "remove it"
    return Finding(at=place, what=f"unknown key ({shown(key)})", allowed=", ".join(siblings), todo=todo)


def _sections() -> Iterator[tuple[str, type[Settings]]]:
    for name in ClusterSpec.model_fields:
        model = _model((name,))
        if model and name != "extra_args":
            yield name, model
    yield "a host", HostSpec


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The model's fields by the keys that stand in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _owner(place: Place) -> tuple[type[Settings], str] | None:
    """The setting at or around the place: its section, and its name there."""
    model: type[Settings] | None = ClusterSpec
    found: tuple[type[Settings], str] | None = None
    for part in place:
        if isinstance(part, str):
            if model is None:
                return found  # a place inside a mapping without settings, like labels
            name = next((n for n, field in model.model_fields.items() if part == (field.alias or n)), None)
            found = (model, name) if name else None
            model = _settings_in(model.model_fields[name].annotation) if name else None
    return found


def _field(place: Place) -> FieldInfo | None:
    owner = _owner(place)
    return owner[0].model_fields[owner[1]] if owner else None


def _model(place: Place) -> type[Settings] | None:
    if not place:
        return ClusterSpec
    field = _field(place)
    return _settings_in(field.annotation) if field else None


def _settings_in(annotation: Any) -> type[Settings] | None:
    """The section that an annotation names: Ssh in `Ssh | None`, HostSpec in `tuple[HostSpec, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    if get_origin(annotation) in (tuple, Union, UnionType):
        return next((found for item in get_args(annotation) if (found := _settings_in(item))), None)
    return None


def _summary(place: Place) -> str:
    """The first sentence of a setting's description, in lower case, to stand after "allowed:"."""
    owner, field = _owner(place), _field(place)
    text = owner[0].descriptions()[owner[1]] if owner else ""
    sentence = text.split(". ")[0].rstrip(".")
    choices = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return ", ".join(choices) or (sentence[:1].lower() + sentence[1:])


def _bounds(place: Place) -> tuple[int, int]:
    field = _field(place)
    limits = {key: getattr(item, key) for item in (field.metadata if field else ()) for key in ("ge", "le") if hasattr(item, key)}
    return limits["ge"], limits["le"]
