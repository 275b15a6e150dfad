"""Messages and documents name only verbs that the program has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from kubewright.cli.app import app

ROOT = Path(__file__).parents[3]
COMMAND = typer.main.get_command(app)
NAMED = re.compile(r"(?:`|: |\$ |run )kubewright ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")


def texts() -> Iterator[tuple[str, str]]:
    for folder in ("kubewright", "pki", "roles", "deploy"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value
    for path in (*ROOT.glob("README*"), *(ROOT / "docs").rglob("*.md")):
        yield str(path.relative_to(ROOT)), path.read_text()


def missing(verb: str, sub: str) -> bool:
    verbs = getattr(COMMAND, "commands", {})
    if verb not in verbs:
        return True
    return bool(sub) and sub not in getattr(verbs[verb], "commands", {sub: None})


def test_every_named_verb_exists() -> None:
    found = [(where, m[0].strip()) for where, text in texts() for m in NAMED.finditer(text) if missing(m[1], m[2] or "")]
    assert not found


def test_the_search_finds_what_is_named() -> None:
    assert sum(len(NAMED.findall(text)) for _, text in texts()) > 50


@pytest.mark.parametrize(("verb", "sub"), [("bundle", ""), ("node", "add"), ("certs", "frobnicate")])
def test_a_verb_that_is_not_there_is_seen(verb: str, sub: str) -> None:
    assert missing(verb, sub)
