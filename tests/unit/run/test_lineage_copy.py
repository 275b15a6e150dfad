"""The inventory's copy of a cluster's record: kept while the cluster is, and gone with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.errors import Failed
from kubewright.model.lineage import FILE
from kubewright.run import lineage_copy
from tests.unit.run.test_bootstrap import made


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    lineage_copy.write(tmp_path, made())
    assert lineage_copy.read(tmp_path) == made()


def test_after_it_is_removed_there_is_none(tmp_path: Path) -> None:
    lineage_copy.write(tmp_path, made())
    lineage_copy.remove(tmp_path)
    assert lineage_copy.read(tmp_path) is None
    lineage_copy.remove(tmp_path)  # a reset that is run again


def test_a_torn_copy_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(Failed, match=r"cluster\.json: can't be read"):
        lineage_copy.read(tmp_path)
