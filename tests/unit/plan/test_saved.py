"""A saved plan knows its inputs, and names those that have changed."""

from __future__ import annotations

import dataclasses
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kubewright.errors import BadInput
from kubewright.observe.observed import Observed, UnitState
from kubewright.plan import saved
from kubewright.plan.changes import all_changes
from kubewright.plan.desired import ClusterTask, Desired, Directory, File, Unit
from tests.support.hosts import entry_of, fresh, key

WANTED = {"x": Desired(files=(File(path="/etc/x", content=b"new\n"), key("/etc/kubernetes/pki/x.key", "a" * 64)))}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text("name: x\n")
    return path


def _document(
    spec: Path, host: Observed, artifacts: dict[str, str] | None = None, wanted: Mapping[str, Desired] = WANTED
) -> dict[str, Any]:
    index = spec.with_name("certificates.json")
    return saved.document(spec, index, artifacts or {"kubelet": "1" * 64}, {"m1": host}, {"m1": all_changes(wanted, host)})


def test_nothing_has_changed_without_a_change(spec: Path) -> None:
    assert saved.moved(_document(spec, fresh()), _document(spec, fresh())) == []


def test_passing_time_is_no_change(spec: Path) -> None:
    later = dataclasses.replace(fresh(), clock=9e9, free_kib={"/opt": 1}, memory_kib=1, listening={("tcp", 1): "x"})
    assert saved.moved(_document(spec, fresh()), _document(spec, later)) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"machine_id": "f" * 32}, "m1: machine-id"),
        ({"kernel": "0"}, "m1: kernel"),
        ({"packages": frozenset({"x"})}, "m1: packages"),
        ({"entries": {"/etc/x": entry_of(File(path="/etc/x", content=b"by hand"))}}, "m1: file /etc/x"),
        ({"units": {"etcd.service": UnitState(active="failed")}}, "m1: unit etcd.service"),
    ],
)
def test_a_change_on_a_host_is_named(spec: Path, change: dict[str, Any], name: str) -> None:
    before = dataclasses.replace(fresh(), entries={}, units={})
    after = dataclasses.replace(before, **change)
    assert name in saved.moved(_document(spec, before), _document(spec, after))


def test_an_edit_of_the_spec_another_artifact_and_another_certificate_are_named(spec: Path) -> None:
    before = _document(spec, fresh())
    spec.write_text("name: y\n")
    spec.with_name("certificates.json").write_text("{}")
    after = _document(spec, fresh(), {"kubelet": "2" * 64})
    assert saved.moved(before, after) == ["cluster.yaml", "certificates.json", "artifact kubelet"]


_FILE, _UNIT = File(path="/etc/x", content=b"new\n"), Unit(name="x.service", gate="true", ready="true")
_DIRECTORY = Directory(path="/etc/y")


@pytest.mark.parametrize(
    "other",
    [
        Desired(files=(dataclasses.replace(_FILE, content=b"of another template\n"),), units=(_UNIT,), directories=(_DIRECTORY,)),
        Desired(files=(dataclasses.replace(_FILE, mode=0o600),), units=(_UNIT,), directories=(_DIRECTORY,)),
        Desired(files=(dataclasses.replace(_FILE, owner="etcd"),), units=(_UNIT,), directories=(_DIRECTORY,)),
        Desired(files=(_FILE,), units=(dataclasses.replace(_UNIT, gate="false"),), directories=(_DIRECTORY,)),
        Desired(files=(_FILE,), units=(dataclasses.replace(_UNIT, before_stop="x"),), directories=(_DIRECTORY,)),
        Desired(files=(_FILE,), units=(dataclasses.replace(_UNIT, ready="x"),), directories=(_DIRECTORY,)),
        Desired(files=(_FILE,), units=(_UNIT,), directories=(dataclasses.replace(_DIRECTORY, mode=0o700),)),
    ],
    ids=["content", "mode", "owner", "gate", "before_stop", "ready", "folder"],
)
def test_another_version_of_kubewright_that_would_do_something_else_is_named(spec: Path, other: Desired) -> None:
    made = Desired(files=(_FILE,), units=(_UNIT,), directories=(_DIRECTORY,))
    before, again, after = (_document(spec, fresh(), wanted={"x": desired}) for desired in (made, made, other))
    assert saved.moved(before, again) == []
    (line,) = saved.moved(before, after)
    assert line.startswith("m1: what is to be done (kubewright itself, or its templates, are of another version")


def test_a_new_host_is_named(spec: Path) -> None:
    before = _document(spec, fresh())
    after = {**before, "hosts": {**before["hosts"], "m2": {"machine-id": "x"}}}
    assert saved.moved(before, after) == ["m2: machine-id"]


def test_only_the_owner_can_read_it_and_it_has_no_content(spec: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.kw"
    saved.save(path, _document(spec, fresh()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "new" not in path.read_text()
    assert saved.load(path) == _document(spec, fresh())


def test_apply_rehashes_binaries_as_the_plan_did(spec: Path) -> None:
    shallow = _document(spec, fresh())
    deep = {**shallow, "deep": True}
    assert saved.depth(deep, spec, deep=False) and saved.depth(deep, spec, deep=True)
    assert not saved.depth(shallow, spec, deep=False)
    with pytest.raises(BadInput, match="made without it"):
        saved.depth(shallow, spec, deep=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', "\x00"])
def test_a_file_that_is_no_saved_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.kw").write_text(text)
    with pytest.raises(BadInput, match="make a new plan"):
        saved.load(tmp_path / "p.kw")


def test_work_in_the_cluster_that_somebody_else_did_or_undid_has_moved(spec: Path) -> None:
    wanted = {"x": Desired(tasks=(ClusterTask(title="apply x", content=b"x", apply="true", evidence={"A": "1", "B": "1"}),))}
    hosts = [
        dataclasses.replace(fresh(), facts=facts)
        for facts in ({"A": "1"}, {"B": "1"}, {"A": "1", "B": "1"}, {"A": "1", "C": "1"})
    ]
    then, *now = [_document(spec, host, wanted=wanted) for host in hosts]
    name = "m1: work in the cluster: apply x"
    assert [saved.moved(then, other) for other in now] == [[name], [name], []]
