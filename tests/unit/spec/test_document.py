"""A file that is no plain YAML is reported as such, never with a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kubewright.errors import BadInput
from kubewright.spec import load
from kubewright.spec.document import parse

Problems = Callable[[str | bytes], list[str]]

ONE_HOST = b"name: prod\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n"


def test_another_encoding_is_reported_with_its_line(problems: Problems) -> None:
    assert problems(ONE_HOST + "# caf\u00e9\n".encode("latin-1")) == [
        "cluster.yaml:4: not UTF-8 (byte 0xe9); allowed: one YAML document in UTF-8; save the file as UTF-8"
    ]


def test_a_forbidden_character_is_reported_with_its_line(problems: Problems) -> None:
    assert problems(ONE_HOST + b"lab: 'a\x07b'\n") == [
        "cluster.yaml:4: a character that YAML forbids (\\x07); allowed: one YAML document in UTF-8; remove it"
    ]


def test_a_byte_order_mark_and_windows_lines_are_accepted(problems: Problems) -> None:
    assert problems(b"\xef\xbb\xbf" + ONE_HOST.replace(b"\n", b"\r\n")) == []


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"# only a comment\n", b"---\n", b"null\n"])
def test_an_empty_file_is_reported(raw: bytes, problems: Problems) -> None:
    (line,) = problems(raw)
    assert "an empty file" in line


@pytest.mark.parametrize(
    "raw",
    [
        b"name: [" * 2000,
        b"[" * 100_000,
        b"a: &a [*a]\n",
        b"%YAML 9.9\n---\nname: x\n",
        b"%YAML a.b\n---\nname: x\n",
        b"name: !!int hello\n",
        b"name: !!float hello\n",
        b"name: !!timestamp hello\n",
        b"name: !!bool hello\n",
        b"name: !<tag:yaml.org,2002:python/name:os.system> x\n",
        b"name: &a !!map x\n",
        b"name: " + b"9" * 10_000 + b"\n",
        b"name: 1e999999\n",
        b"name: .nan\n",
        b'name: "\\ud800"\n',
        b'name: "\\0"\nssh: {key: "\\0", known_hosts: "\\ud800"}\n',
        b"artifacts: {source: directory, directory: '" + b"a" * 5000 + b"'}\n",
        b"? \n: x\n",
        b"hosts: &h\n  - *h\n",
        b"name: prod\nhosts:\n ts:\n ts:\n  - {name: m1}\nnetwrok: {}\n",
        b"kubernetes: 2026-01-01T00:00:00Z\nname: 0o17\n",
    ],
)
def test_surprising_yaml_is_bad_input(raw: bytes, problems: Problems) -> None:
    assert problems(raw)
    assert "\n" not in "".join(problems(raw))


def test_aliases_of_aliases_do_not_fill_the_memory(problems: Problems) -> None:
    text = b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)
    )
    (line,) = problems(text)
    assert "more than 500000 values" in line


def test_an_alias_repeats_a_value(problems: Problems) -> None:
    text = ONE_HOST.replace(b"roles: [master]", b"roles: [master], labels: &l {zone: a}")
    assert problems(text + b"  - {name: w1, address: 192.0.2.12, roles: [worker], labels: *l}\n") == []


def test_numbers_that_readers_of_yaml_disagree_about_stay_text() -> None:
    data = parse(b"[1, -2, 010, 0x1f, 0o17, 1_000, 12:30, 1.5, .inf, true, yes, ~, 2026-01-01]", name="x").data
    assert data == [1, -2, "010", "0x1f", "0o17", "1_000", "12:30", 1.5, ".inf", True, "yes", None, "2026-01-01"]


def test_a_missing_file_is_reported_with_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        load(tmp_path / "prod")
    assert str(caught.value) == (
        f"{tmp_path}/prod/cluster.yaml: no such file or directory; "
        f"allowed: an inventory folder with a cluster.yaml; write one with: kubewright init {tmp_path}/prod"
    )


def test_a_folder_in_the_place_of_the_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").mkdir()
    with pytest.raises(BadInput, match="is a directory"):
        load(tmp_path)


def test_an_impossible_path_is_reported() -> None:
    with pytest.raises(BadInput):
        load(Path("a\0b"))
