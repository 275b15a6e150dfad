"""How this package says what is wrong: the raw material of `Problem`s.

Owns the form of the sentences; its callers know the fault and its place.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

REFUSED = "refused"
"""The type of the errors that `refused` makes: their context is a problem's text."""

Place = tuple[str | int, ...]
"""The way to a value in the file: ("hosts", 0, "address")."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem whose line is not known yet."""

    at: Place
    what: str
    allowed: str
    todo: str


def refused(what: str, *, allowed: str, todo: str) -> PydanticCustomError:
    """The error that a field's validator raises. The value is added later, as the file has it."""
    return PydanticCustomError(REFUSED, "{what}", {"what": what, "allowed": allowed, "todo": todo})


def shown(value: object, *, limit: int = 60) -> str:
    """`value` as it can stand in one line of a message: printable, and not longer than `limit` characters."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        if any(isinstance(item, dict | list | tuple) for item in value):
            return "a list"
        value = f"[{', '.join(shown(item, limit=limit) for item in value[:limit])}]"
    text = value if isinstance(value, str) else {None: "null", True: "true", False: "false"}.get(value, str(value))  # type: ignore[call-overload]
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def dotted(place: Place) -> str:
    """hosts[0].address; keys that are no plain words stand in brackets and quotes."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("-", "").replace("_", "").isalnum() and part.isascii():
            text += f".{part}" if text else part
        else:
            text += f'["{shown(part)}"]'
    return text


def closest(word: str, words: Iterable[str]) -> str | None:
    """The most similar word."""
    # A key can be as long as the file; difflib's cost is quadratic.
    return next(iter(difflib.get_close_matches(word[:100], list(words), n=1)), None)
