"""Text inside languages of their own: one argument of a systemd command line, one YAML string. Pure."""

from __future__ import annotations

import json
import re

_PLAIN_ARGUMENT = re.compile(r"[^\s\"'\\#;][^\s\"'\\]*")
_PLAIN_YAML = re.compile(r"[A-Za-z0-9/](?:[A-Za-z0-9._/@:+-]*[A-Za-z0-9._/@+-])?", re.ASCII)
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?", re.ASCII)
_IN_NO_NUMBER = re.compile(r"[g-np-su-wyG-NP-SU-WY]")
"""Letters that are in no number and no date, in any base: not a-f, o and x (0o7, 0x1f), t and z (2026-01-01T00:00:00Z)."""


def unit_argument(text: str) -> str:
    """`text` as one argument of ExecStart= [systemd.service(5), COMMAND LINES; systemd.syntax(7), QUOTING].

    Without a special character it stays as it is. `%` would begin a specifier and `$` a variable, in quotes too.
    Only for command lines: `Environment=` takes `$` as it is, and would keep `$$` [systemd.exec(5)].
    """
    if not text.isprintable():
        # A newline would begin another setting of the unit. validate refuses these first.
        raise ValueError("control characters in an argument of a unit")
    literal = text.replace("%", "%%").replace("$", "$$")
    if _PLAIN_ARGUMENT.fullmatch(text):
        return literal
    escaped = literal.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def ambiguous(text: str) -> bool:
    """Whether a reader of YAML 1.1 or 1.2 may take the plain word for a number, truth value, null or date."""
    if text.lower() in _WORDS or not text or text[0] in "~=<.+-":
        return True
    return text[0].isdigit() and not _ADDRESS.fullmatch(text) and not _IN_NO_NUMBER.search(text)


def yaml_text(text: str) -> str:
    """`text` as a YAML string: plain where every reader reads it as a string, else in JSON's form.

    JSON's escapes mean the same in YAML 1.1 and 1.2, but for surrogate pairs: other printable characters stay unchanged.
    """
    return text if _PLAIN_YAML.fullmatch(text) and not ambiguous(text) else json.dumps(text, ensure_ascii=not text.isprintable())
