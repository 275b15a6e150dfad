"""The versioned folders that a host keeps over changes of versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest

from kubewright.artifacts import UNKNOWN
from kubewright.hosts.script import stage
from kubewright.model.places import HOME
from kubewright.observe.observed import PAYLOADS, Entry, Observed
from kubewright.plan import leftovers, payloads
from kubewright.plan.changes import Changes, all_changes
from kubewright.plan.desired import Desired, File, Link, Payload
from kubewright.plan.role import Role, on_every_host
from kubewright.releases import systems as tables
from tests.support.scenarios import scenario


def _path(name: str, version: str) -> str:
    return f"{HOME}/{name}/{version}/{name}"


def _desired(*versions: tuple[str, str], sha256: str = "a" * 64) -> Desired:
    return Desired(
        payloads=tuple(
            Payload(path=_path(n, v), sha256=sha256, size=1, mode=0o755, local=Path("/nonexistent"), packed=1)
            for n, v in versions
        ),
        links=tuple(Link(path=f"/usr/local/bin/{n}", target=_path(n, v)) for n, v in versions),
    )


def _with(host: Observed, versions: Iterable[tuple[str, str]]) -> Observed:
    """`host` with those payloads on it."""
    entries, manifest = dict(host.entries), dict(host.manifest)
    for name, version in versions:
        folder = f"{HOME}/{name}/{version}"
        entries[folder] = Entry(kind="d", mode=0o755, owner="root", group="root", size=4096)
        entries[f"{folder}/{name}"] = Entry(kind="f", mode=0o755, owner="root", group="root", size=1)
        manifest[f"{folder}/{name}"] = ("a" * 64, 1)
    return dataclasses.replace(host, entries=entries, manifest=manifest)


def _apply(host: Observed, desired: Desired) -> tuple[Observed, Changes]:
    """The host after a run, and the run's last step."""
    role = Role(name="x", runs_on=on_every_host, desired=lambda _context: desired)
    context = scenario("lab").context("m1", host)
    changed = all_changes(leftovers.everything((role,), context), host)
    after = _with(host, ((p.path.split("/")[3], p.path.split("/")[4]) for p in desired.payloads))
    unwanted = {line.removeprefix("link ") for line in host.installed if line not in leftovers.wanted([desired])}
    entries = {path: entry for path, entry in after.entries.items() if path not in unwanted}
    for link in desired.links:
        entries[link.path] = Entry(kind="l", mode=0o777, owner="root", group="root", size=1, target=link.target)
    last = changed[leftovers.LEFTOVERS.name]
    for folder in last.gone:
        entries = {path: entry for path, entry in entries.items() if path != folder and not path.startswith(f"{folder}/")}
    manifest = {path: value for path, value in after.manifest.items() if path in entries}
    records = [f for change in changed.values() for f in change.files if f.path == PAYLOADS]
    lines = host.payloads
    for record in records:
        assert isinstance(record.content, bytes)
        lines = tuple(record.content.decode().splitlines())
    installed = tuple(sorted(leftovers.wanted([desired])))
    return dataclasses.replace(after, entries=entries, manifest=manifest, payloads=lines, installed=installed), last


def _folders(host: Observed) -> list[str]:
    return sorted(p.removeprefix(f"{HOME}/") for p, e in host.entries.items() if e.kind == "d" and p.startswith(f"{HOME}/"))


FRESH = dataclasses.replace(scenario("lab").observed("m1"), installed=(), entries={}, manifest={}, payloads=())
ONE, TWO, THREE = (_desired(("kubelet", version), ("etcd", "3")) for version in ("1", "2", "3"))


def test_a_settled_host_has_nothing_to_do() -> None:
    host, _ = _apply(FRESH, ONE)
    assert host.payloads == (f"now {_path('etcd', '3')}", f"now {_path('kubelet', '1')}"), "written before anything else"
    again, last = _apply(host, ONE)
    assert not last
    assert again == host


def test_the_release_before_stays_and_older_ones_are_removed() -> None:
    host, _ = _apply(FRESH, ONE)
    host, last = _apply(host, TWO)
    assert last.gone == ()
    assert _folders(host) == ["etcd/3", "kubelet/1", "kubelet/2"]
    assert not _apply(host, TWO)[1], "the run after it has nothing to do"
    host, last = _apply(host, THREE)
    assert last.sentences() == (f"write {PAYLOADS}", f"remove {HOME}/kubelet/1")
    assert _folders(host) == ["etcd/3", "kubelet/2", "kubelet/3"]
    assert not _apply(host, THREE)[1]


def test_a_rollback_keeps_both() -> None:
    host, _ = _apply(FRESH, ONE)
    host, _ = _apply(host, TWO)
    host, last = _apply(host, ONE)
    assert last.gone == ()
    assert _folders(host) == ["etcd/3", "kubelet/1", "kubelet/2"]


def test_payloads_of_an_abandoned_upgrade_are_removed_and_the_release_before_stays() -> None:
    host, _ = _apply(FRESH, ONE)
    host, _ = _apply(host, TWO)
    halfway = _with(host, [("kubelet", "3")])
    kubelet = Entry(kind="l", mode=0o777, owner="root", group="root", size=1, target=_path("kubelet", "3"))
    halfway = dataclasses.replace(halfway, entries={**halfway.entries, "/usr/local/bin/kubelet": kubelet})
    host, last = _apply(halfway, TWO)
    assert last.gone == (f"{HOME}/kubelet/3",), "its link is moved back before"
    assert _folders(host) == ["etcd/3", "kubelet/1", "kubelet/2"]
    assert not _apply(host, TWO)[1]


def test_a_host_of_an_older_kubewright_keeps_everything_until_its_next_change() -> None:
    old = _with(FRESH, [("kubelet", "0"), ("kubelet", "1"), ("etcd", "3")])
    plain = dataclasses.replace(_with(FRESH, [("kubelet", "1"), ("etcd", "3")]), installed=tuple(sorted(leftovers.wanted([ONE]))))
    assert not _apply(plain, ONE)[1], "one that is settled stays a no-op"
    host, last = _apply(old, TWO)
    assert last.gone == ()
    assert _folders(host) == ["etcd/3", "kubelet/0", "kubelet/1", "kubelet/2"]
    host, last = _apply(host, THREE)
    assert last.gone == (f"{HOME}/kubelet/0", f"{HOME}/kubelet/1")


def test_the_target_of_a_foreign_link_stays() -> None:
    host, _ = _apply(FRESH, ONE)
    host, _ = _apply(host, TWO)
    theirs = Entry(kind="l", mode=0o777, owner="root", group="root", size=1, target=_path("kubelet", "1"))
    host = dataclasses.replace(host, entries={**host.entries, "/usr/local/bin/kubelet-1": theirs})
    assert _apply(host, THREE)[1].gone == ()


def test_a_removed_roles_binaries_stay_for_one_release() -> None:
    host, _ = _apply(FRESH, ONE)
    host, last = _apply(host, _desired(("kubelet", "1")))
    assert (last.gone, _folders(host)) == ((), ["etcd/3", "kubelet/1"])
    _, last = _apply(host, _desired(("kubelet", "2")))
    assert last.gone == (f"{HOME}/etcd/3",)


def test_a_preview_without_the_artifacts_removes_nothing() -> None:
    host, _ = _apply(FRESH, ONE)
    host, _ = _apply(host, TWO)
    assert not payloads.kept([_desired(("kubelet", UNKNOWN), sha256=UNKNOWN)], host).gone


def test_only_our_versioned_folders_are_named() -> None:
    strange = [
        "/opt/kubewright",
        f"{HOME}/kubelet",
        f"{HOME}/kubelet/1/deep",
        f"{HOME}/a b/1",
        f"{HOME}/../etc",
        f"{HOME}/x/..",
        "/etc/x",
    ]
    host, _ = _apply(FRESH, ONE)
    folder = Entry(kind="d", mode=0o755, owner="root", group="root", size=1)
    host = dataclasses.replace(host, entries={**host.entries, **dict.fromkeys(strange, folder)})
    assert payloads.kept([ONE], host) == payloads.Kept()


@pytest.mark.parametrize("folder", [HOME, f"{HOME}/x", "/etc/x/y", f"{HOME}/x/../..", f"{HOME}/x/y/z", f"{HOME}/x/;id"])
def test_a_removal_of_anything_else_is_an_error(folder: str) -> None:
    with pytest.raises(ValueError, match="not a versioned folder"):
        payloads.name_and_version(folder)


def test_folders_are_removed_last() -> None:
    late = File(path="/etc/late", content=b"", apply="true")
    changed = Changes(late=(late,), gone=(f"{HOME}/kubelet/1-a", f"{HOME}/image-coredns/v1.2-b"))
    system = tables.SYSTEMS[0]
    lines = stage(changed, system, lambda _file: b"").files["act.sh"].decode().splitlines()
    assert lines[-2:] == ["drop kubelet 1-a", "drop image-coredns v1.2-b"]
    assert "late.0" in lines[-3]
