"""The encryption key's row: its public part, the apiservers' file, and its stages."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kubewright.errors import Failed
from pki import encryption
from pki.decisions import Verdict
from pki.encryption import IDENTITY, ROW, Providers
from pki.stages import Stage
from pki.store import INDEX, PRIVATE, Store
from tests.pki.conftest import NOW


def _document(store: Store) -> list[dict[str, Any]]:
    """The providers, in order."""
    document = YAML(typ="safe").load(store.key(ROW))
    assert (document["apiVersion"], document["kind"]) == ("apiserver.config.k8s.io/v1", "EncryptionConfiguration")
    (only,) = document["resources"]
    assert only["resources"] == ["secrets"]
    return list(only["providers"])


def _names(store: Store) -> list[str]:
    """The providers' names in the apiserver's order, from the document itself."""
    found: list[str] = []
    for provider in _document(store):
        found += [IDENTITY] if "identity" in provider else [key["name"] for key in provider["secretbox"]["keys"]]
    return found


def test_a_new_cluster_writes_with_a_key_of_32_bytes_and_reads_unencrypted_values_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert encryption.decide(store).verdict is Verdict.ISSUE
    there = encryption.issue(store, NOW, serving=False)
    assert there.stage is Stage.SETTLED
    assert _names(store) == list(there.names)
    assert there.names[1:] == (IDENTITY,)
    assert len(base64.b64decode(encryption.keys(store)[there.writes])) == 32
    assert encryption.decide(store).verdict is Verdict.KEEP


def test_it_is_issued_once(tmp_path: Path) -> None:
    first = encryption.issue(Store(tmp_path), NOW, serving=False)
    assert encryption.issue(Store(tmp_path), NOW, serving=True) == first


def test_apiservers_that_cannot_read_with_the_key_yet_do_not_write_with_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    there = encryption.issue(store, NOW, serving=True)
    assert there.stage is Stage.INTRODUCED
    assert there.writes == IDENTITY
    assert "identity" in _document(store)[0]
    after = encryption.advance(store, Stage.INTRODUCED, NOW)
    assert after == Providers(stage=Stage.SWITCHED, names=(there.names[1], IDENTITY))
    assert encryption.advance(store, Stage.SWITCHED, NOW).names == after.names


def test_the_index_has_only_the_name_and_the_sum_of_a_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    there = encryption.issue(store, NOW, serving=False)
    row = json.loads((tmp_path / INDEX).read_text())[ROW]
    assert row == {"certificate": f"settled {there.writes} identity\n", "key_sha256": hashlib.sha256(store.key(ROW)).hexdigest()}
    assert encryption.keys(store)[there.writes] not in (tmp_path / INDEX).read_text()
    assert (tmp_path / PRIVATE).stat().st_mode & 0o777 == 0o600


def test_a_new_key_first_reads_then_writes_then_is_the_only_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = encryption.issue(store, NOW, serving=False).writes
    introduced = encryption.advance(store, Stage.SETTLED, NOW)
    new = introduced.names[1]
    assert new not in (old, IDENTITY)
    seen = [(introduced.stage, _names(store))]
    secrets = encryption.keys(store)
    for stage in (Stage.INTRODUCED, Stage.SWITCHED, Stage.RETIRED):
        seen.append((encryption.advance(store, stage, NOW).stage, _names(store)))
    assert seen == [
        (Stage.INTRODUCED, [old, new, IDENTITY]),
        (Stage.SWITCHED, [new, old, IDENTITY]),
        (Stage.RETIRED, [new, IDENTITY]),
        (Stage.SETTLED, [new, IDENTITY]),
    ]
    assert encryption.keys(Store(tmp_path)) == {new: secrets[new]}, "the key itself did not change on the way"
    assert secrets[old] not in (tmp_path / PRIVATE).read_text(), "the old key is nowhere any more"


def _rotated(store: Store) -> Iterator[tuple[Providers, frozenset[str]]]:
    """The row in each stage of two rotations, and the names in its file."""
    there = encryption.issue(store, NOW, serving=False)
    for _ in range(9):
        yield there, frozenset(encryption.keys(store))
        there = encryption.advance(store, there.stage, NOW)
        assert there == encryption.providers(Store(store.folder).entries)


def test_a_host_that_is_behind_is_brought_up_to_date_and_one_that_is_ahead_shows_that_the_store_is_old(tmp_path: Path) -> None:
    rows = list(_rotated(Store(tmp_path)))
    for at, (row, _) in enumerate(rows):
        for held_at, (_, held) in enumerate(rows):
            # The same keys in any order: nothing can be lost, and no stage can be told.
            known_keys = held <= rows[at][1] and rows[at][1] <= held
            assert bool(row.ahead(held)) == (held_at > at and not known_keys), (at, held_at)
        assert row.ahead(frozenset()) == ()


def test_the_index_keeps_the_names_of_dropped_keys(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [row for row, _ in _rotated(store)]
    first, second = rows[0].writes, rows[4].writes
    assert rows[8].dropped == (first, second)
    assert set(encryption.keys(store)) & {first, second} == set()


def test_two_runs_at_once_do_not_skip_a_stage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    encryption.issue(store, NOW, serving=False)
    encryption.advance(Store(tmp_path), Stage.SETTLED, NOW)
    with pytest.raises(Failed, match="from settled to introduced"):
        encryption.advance(store, Stage.SETTLED, NOW)


def test_kube_bench_finds_the_provider(tmp_path: Path) -> None:
    """CIS 1.2.28: the line after `providers:`."""
    store = Store(tmp_path)
    encryption.issue(store, NOW, serving=False)
    lines = store.key(ROW).decode().splitlines()
    assert lines[lines.index("  providers:") + 1] == "  - secretbox:"
