"""Messages and documents name only verbs that the program has, with options that the verb has."""

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


COMMAND_LINE = re.compile(r"(?:`|: |\$ |run |\bbin/)kubewright ([a-z][^`\n;#()]*)")
IN_A_BLOCK = re.compile(r"^kubewright +([a-z][^\n;#]*)", re.MULTILINE)
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<!\S)\[?(--?[a-z][a-z-]*)")


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


def command_lines(where: str, text: str) -> Iterator[str]:
    """The words after `kubewright`; in documents also at the beginning of a line of a code block."""
    yield from COMMAND_LINE.findall(text)
    if where.endswith(".md"):
        for block in BLOCK.findall(text):
            yield from IN_A_BLOCK.findall(block)


def wrong(line: str) -> list[str]:
    """The verbs and options in a command line that do not exist. After ` -- ` another program's words begin."""
    words = line.partition(" -- ")[0].split()
    wrong_words: list[str] = []
    command = COMMAND
    while words and getattr(command, "commands", None):
        # `a|b` names two verbs; capital letters and the like stand for words.
        names = words[0].rstrip(".,:").split("|")
        if not all(re.fullmatch("[a-z][a-z-]*", name) for name in names):
            return wrong_words
        wrong_words += [name for name in names if name not in getattr(command, "commands", {})]
        if wrong_words:
            return wrong_words
        command, words = getattr(command, "commands", {})[names[0]], words[1:]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    return [option for option in OPTION.findall(" ".join(words)) if option not in known]


def test_every_named_verb_exists() -> None:
    found = [(where, m[0].strip()) for where, text in texts() for m in NAMED.finditer(text) if missing(m[1], m[2] or "")]
    assert not found


def test_the_search_finds_named_verbs() -> None:
    assert sum(len(NAMED.findall(text)) for _, text in texts()) > 50


@pytest.mark.parametrize(("verb", "sub"), [("bundle", ""), ("node", "paint"), ("certs", "frobnicate")])
def test_a_missing_verb_is_found(verb: str, sub: str) -> None:
    assert missing(verb, sub)


def test_every_command_line_has_verbs_and_options_that_exist() -> None:
    found = [(where, line, bad) for where, text in texts() for line in command_lines(where, text) if (bad := wrong(line))]
    assert not found


def test_the_search_finds_code_blocks_and_options() -> None:
    lines = [(where, line) for where, text in texts() for line in command_lines(where, text)]
    assert sum(where.endswith(".md") for where, _ in lines) > 50
    assert sum(bool(OPTION.search(line)) for _, line in lines) > 50


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("apply -i FOLDER --without HOST", []),
        ("apply -i FOLDER --with HOST", ["--with"]),
        ("plan [--frob]", ["--frob"]),
        ("verify --deep", ["--deep"]),
        ("encryption status|rotate -i FOLDER", []),
        ("encryption status|turn -i FOLDER", ["turn"]),
        ("certs frobnicate", ["frobnicate"]),
        ("certs rotate-ca etcd --undo", []),
        ("kubectl -i FOLDER -- get nodes --all", []),
        ("bundle", ["bundle"]),
    ],
)
def test_a_command_line_that_would_fail_is_found(line: str, bad: list[str]) -> None:
    assert wrong(line) == bad


def test_a_line_of_a_code_block_is_found_and_a_sentence_is_not() -> None:
    text = "kubewright writes this.\n\n```\nkubewright bundle  # all\n$ kubewright apply\n```\n"
    assert list(command_lines("docs/a.md", text)) == ["apply", "bundle  "]
