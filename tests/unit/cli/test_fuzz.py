"""For any cluster.yaml, `kubewright validate` ends with 0 or 3 and sentences, never with a traceback.

The program's own entry point is called, so exit codes, printing and encoding are the real ones.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kubewright.cli import main
from kubewright.errors import BAD_INPUT, DONE

INVENTORIES = Path(__file__).parents[3] / "inventories"
# The keys of Vagrant and the lab do not exist before they are up: any readable file will do.


def _key() -> Path:
    """A private key that SSH accepts, in place of those that labs and Vagrant make."""
    made = Ed25519PrivateKey.generate()
    text = made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    folder = Path(tempfile.mkdtemp(prefix="kubewright-fuzz-"))
    atexit.register(shutil.rmtree, folder)
    path = folder / "key"
    path.touch(0o600)
    path.write_bytes(text)
    return path


KEY = _key()
TEXTS = [
    re.sub(
        r"(\S*\.vagrant|/var/lib/kubewright/lab)/[^,} \n]*",
        lambda found: str(Path(__file__) if "known_hosts" in found[0] else KEY),
        path.read_text(),
    )
    for path in sorted(INVENTORIES.glob("*/cluster.yaml"))
]
TREES = [YAML(typ="safe", pure=True).load(text) for text in TEXTS]
# `make soak` runs them all, again and again: 2,000 in one go.
SHARE = 1 if os.environ.get("KUBEWRIGHT_SOAK") else 3
MANY = settings(max_examples=1400 // SHARE, deadline=None, suppress_health_check=list(HealthCheck))
FEWER = settings(MANY, max_examples=500 // SHARE)
FEWEST = settings(MANY, max_examples=100 // SHARE)


def validate(raw: bytes, folder: Path) -> tuple[int, str, str]:
    """Exit status, standard output and error of `kubewright validate` for that cluster.yaml."""
    (folder / "cluster.yaml").write_bytes(raw)
    # As a terminal or a pipe in a UTF-8 locale, where text that can't be encoded is an error too.
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=e, write_through=True) for e in ("strict", "strict"))
    arguments = ["kubewright", "validate", "-i", str(folder)]
    with (
        mock.patch.object(sys, "argv", arguments),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            status = ended.code
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return int(status or 0), said[0], said[1]


def check(raw: bytes, folder: Path) -> None:
    status, out, err = validate(raw, folder)
    assert status in (DONE, BAD_INPUT), (status, err)
    if status == DONE:
        assert "no problem found" in out and not err
        return
    assert not out and err.strip()
    for line in err.rstrip("\n").split("\n"):
        assert re.match(r"cluster\.yaml:\d+", line), line
        assert "Traceback" not in line and len(line.split("; ")) >= 3, line
        assert line.isprintable(), line


SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    7,
    70000,
    2**63,
    10**400,
    1.5,
    float("inf"),
    float("nan"),
    "",
    " ",
    "x",
    "~",
    "null",
]
SCALARS += [
    "10.90.0.11",
    "10.96.0.0/12",
    "::1",
    "0.0.0.0/0",
    "1.37.1",
    "9.99.9",
    "master",
    "/dev/null",
    "/",
    "a" * 5000,
    "\u00e9\u4e2d",
    "\U0001f600",
]
SCALARS += [
    "\x1b[31m",
    "a\nb",
    "\u2028",
    "\u202e",
    "%s{}",
    "'",
    '"',
    "..",
    "../../x",
    "2026-01-01",
    "0x10",
    "1_000",
    "yes",
    "-",
    "*",
    "<<",
]
KEYS = [
    "name",
    "hosts",
    "roles",
    "address",
    "ssh",
    "user",
    "port",
    "network",
    "extra_args",
    "etcd",
    "kubelet",
    "labels",
    "v",
    "\u00e9",
    "<<",
    "0",
    "",
]
scalars = st.sampled_from(SCALARS) | st.text(max_size=6) | st.integers() | st.floats()
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def _nodes(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from _nodes(value, (*place, key))


PLACES = [list(_nodes(tree)) for tree in TREES]


def _parent(tree: Any, place: tuple[Any, ...]) -> Any:
    for key in place[:-1]:
        tree = tree[key]
    return tree


def _retyped(value: Any) -> list[Any]:
    return [
        [value],
        {"x": value},
        str(value),
        [value, value],
        {str(value): None},
        list(value) if isinstance(value, dict | str) else 1,
    ]


def _alter(tree: Any, place: tuple[Any, ...], draw: st.DrawFn) -> None:
    """One node replaced, removed, doubled, renamed, retyped, or put where another one is."""
    parent, key = _parent(tree, place), place[-1]
    value = parent[key]
    match draw(st.integers(0, 5)):
        case 0:
            parent[key] = draw(anything)
        case 1:
            del parent[key]
        case 2 if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(value))
        case 3 if isinstance(parent, dict):
            parent[draw(st.sampled_from(KEYS) | st.text(max_size=6))] = parent.pop(key)
        case 4:
            parent[key] = draw(st.sampled_from(_retyped(value)))
        case _:
            other = draw(st.sampled_from(list(_nodes(tree))))
            parent[key] = copy.deepcopy(_parent(tree, other)[other[-1]])


@st.composite
def altered(draw: st.DrawFn) -> bytes:
    """A valid inventory with one to five replaced nodes."""
    index = draw(st.integers(0, len(TREES) - 1))
    tree = copy.deepcopy(TREES[index])
    for place in draw(st.lists(st.sampled_from(PLACES[index]), min_size=1, max_size=5)):
        with contextlib.suppress(LookupError, TypeError, AttributeError):  # its parent was replaced before
            _alter(tree, place, draw)
    text = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = draw(st.booleans())
    writer.allow_unicode = draw(st.booleans())
    writer.dump(tree, text)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _line(draw: st.DrawFn, lines: list[str]) -> int:
    return draw(st.integers(0, max(0, len(lines) - 1)))


DAMAGE: list[Any] = [
    lambda raw, _n: b"\xef\xbb\xbf" + raw,
    lambda raw, _n: raw.decode().encode("utf-16"),
    lambda raw, _n: raw.decode().encode("utf-16-be"),
    lambda raw, _n: raw.decode().encode("utf-32"),
    lambda raw, _n: raw.decode().encode("utf-7"),
    lambda raw, _n: raw.replace(b"name", "n\u00e4me".encode("latin-1")),
    lambda raw, _n: raw.replace(b"\n", b"\r\n"),
    lambda raw, _n: raw.replace(b"\n", b"\r"),
    lambda raw, _n: raw.replace(b"  ", b"\t"),
    lambda raw, n: raw[:n],
    lambda raw, n: raw[n:],
    lambda raw, n: raw[:n] + b"\x00" + raw[n:],
    lambda raw, n: raw[:n] + b"\xff\xfe\x80" + raw[n:],
    lambda raw, n: raw[:n] + b"\t" + raw[n:],
    lambda raw, n: raw[:n] + bytes([raw[n % len(raw)] ^ (1 << n % 8)]) + raw[n + 1 :],
    lambda raw, _n: raw + raw,
    lambda raw, _n: raw + b"---\n" + raw,
    lambda raw, _n: b"%YAML 9.9\n---\n" + raw,
    lambda raw, _n: raw.replace(b": ", b": &a ", 1) + b"x: *a\n",
    lambda raw, _n: raw.replace(b": ", b": *nowhere ", 1),
    lambda raw, _n: raw + b"x: &x [*x, *x]\n",
    lambda raw, _n: raw + b"x: !!python/object/apply:os.system [id]\n",
    lambda raw, _n: raw + b"<<: {name: a}\n",
    lambda raw, _n: raw + b"? [a, b]\n: c\n",
    lambda raw, n: raw + b"x: " + b"[" * n + b"]" * n + b"\n",
    lambda raw, n: raw + b"x: " + b"{a: " * n + b"}" * n + b"\n",
    lambda raw, n: raw + b"x: " + b"9" * (n * 5) + b"\n",
    lambda raw, n: raw + b"x: 1e" + b"9" * n + b"\n",
    lambda raw, n: raw + b"x" * (n * 40) + b": 1\n",
    lambda raw, n: raw + b"\n".join(b"- " * n for _ in range(3)),
    lambda raw, _n: (
        raw
        + b"a: &a [x,x,x,x,x,x,x,x]\n"
        + b"".join(f"b{i}: &b{i} [*{'a' if not i else f'b{i - 1}'}, *a, *a]\n".encode() * 1 for i in range(30))
    ),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The text of a valid inventory, damaged once to three times as editors, transfers and people do it."""
    raw = draw(st.sampled_from(TEXTS)).encode()
    for kind in draw(st.lists(st.integers(0, len(DAMAGE) - 1), min_size=1, max_size=3)):
        with contextlib.suppress(UnicodeDecodeError, ZeroDivisionError, IndexError):
            raw = DAMAGE[kind](raw, draw(st.integers(0, min(len(raw), 3000))))
    lines = raw.split(b"\n")
    if draw(st.booleans()):
        at = draw(st.integers(0, len(lines) - 1))
        lines.insert(draw(st.integers(0, len(lines))), lines[at])
    return b"\n".join(lines)


@MANY
@given(raw=altered())
def test_a_valid_inventory_with_other_nodes_is_accepted_or_reported(raw: bytes, tmp_path: Path) -> None:
    check(raw, tmp_path)


@FEWER
@given(raw=damaged())
@example(raw=b"")
@example(raw=b"\n")
@example(raw=b"\x00")
@example(raw=b"\xef\xbb\xbf")
@example(raw=b"---\n---\n")
@example(raw=b"- a\n")
@example(raw=b"[" * 100_000)
@example(raw=b"hosts:\n" + b"  - {}\n" * 3000)
def test_a_damaged_file_is_accepted_or_reported(raw: bytes, tmp_path: Path) -> None:
    check(raw, tmp_path)


@FEWEST
@given(raw=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_accepted_or_reported(raw: bytes, tmp_path: Path) -> None:
    check(raw, tmp_path)


def test_the_undamaged_inventories_are_valid(tmp_path: Path) -> None:
    """Otherwise the other tests would not prove anything about nearly valid files."""
    assert [validate(text.encode(), tmp_path)[0] for text in TEXTS] == [DONE] * len(TEXTS)
