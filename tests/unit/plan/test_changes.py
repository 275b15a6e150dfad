"""changes = desired - observed: each kind of difference, and its restarts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kubewright.observe.observed import Entry, Observed, UnitState
from kubewright.plan.changes import Action, Changes, changes
from kubewright.plan.desired import Desired, Directory, File, Link, Payload, Unit
from tests.support.hosts import carried_out, fresh, key

UNIT = "x.service"
CONFIG = File(path="/etc/kubernetes/x.yaml", content=b"one\n", restarts=(UNIT,))
PLAIN = File(path="/etc/crictl.yaml", content=b"plain\n")
SECRET = key("/etc/kubernetes/x.key", "a" * 64, (UNIT,))
LINK = Link(path="/usr/local/bin/x", target="/opt/kubewright/x/1-a/x", restarts=(UNIT,))
UNIT_FILE = File(path=f"/etc/systemd/system/{UNIT}", content=b"[Unit]\n", restarts=(UNIT,))
PAYLOAD = Payload(path="/opt/kubewright/x/1-a/x", sha256="b" * 64, size=10, mode=0o755, local=Path("/nonexistent"), packed=5)
LATE = File(path="/etc/kubernetes/addons/x", content=b"late\n", apply="true", title="apply x")
DESIRED = Desired(
    packages=("socat",),
    users=("etcd",),
    directories=(Directory(path="/etc/kubernetes"),),
    payloads=(PAYLOAD,),
    files=(CONFIG, PLAIN, SECRET, UNIT_FILE),
    links=(LINK,),
    units=(Unit(name=UNIT),),
    late=(LATE,),
)
DONE = carried_out(DESIRED)


def _entry(path: str, **changed: object) -> Observed:
    entry = dataclasses.replace(DONE.entries[path], **changed)  # type: ignore[arg-type]
    return dataclasses.replace(DONE, entries={**DONE.entries, path: entry})


def _without(path: str) -> Observed:
    return dataclasses.replace(DONE, entries={p: e for p, e in DONE.entries.items() if p != path})


def _unit(**state: object) -> Observed:
    return dataclasses.replace(DONE, units={UNIT: dataclasses.replace(DONE.units[UNIT], **state)})  # type: ignore[arg-type]


def _replaced(new: File, *, old: File = CONFIG) -> Desired:
    return dataclasses.replace(DESIRED, files=tuple(new if f == old else f for f in DESIRED.files))


def test_a_host_as_desired_has_no_changes() -> None:
    found = changes(DESIRED, DONE)
    assert found == Changes()
    assert not found
    assert found.sentences() == ()


def test_a_fresh_host_lacks_everything() -> None:
    found = changes(DESIRED, fresh())
    assert found.sentences() == (
        "install package socat",
        "create user etcd",
        "create or correct folder /etc/kubernetes",
        "send /opt/kubewright/x/1-a/x (0 MB)",
        "write /etc/kubernetes/x.yaml",
        "write /etc/crictl.yaml",
        "write /etc/kubernetes/x.key (secret)",
        "write /etc/systemd/system/x.service",
        "link /usr/local/bin/x -> /opt/kubewright/x/1-a/x",
        "start x.service",
        "apply x",
    )
    assert found.reload
    assert not found.gated, "nothing serves yet"


@pytest.mark.parametrize(
    "changed",
    [{"sha256": "c" * 64}, {"mode": 0o600}, {"owner": "nobody"}, {"group": "nogroup"}, {"kind": "l"}, {"kind": "d"}],
    ids=lambda c: next(iter(c)),
)
def test_a_file_is_written_for_any_difference(changed: dict[str, object]) -> None:
    assert changes(DESIRED, _entry(PLAIN.path, **changed)) == Changes(files=(PLAIN,))


def test_a_file_that_was_deleted_is_written_again_without_a_restart() -> None:
    assert changes(DESIRED, _without(CONFIG.path)) == Changes(files=(CONFIG,))


def test_a_mode_alone_is_corrected_without_a_restart() -> None:
    assert changes(DESIRED, _entry(SECRET.path, mode=0o644)) == Changes(files=(SECRET,))


@pytest.mark.parametrize("changed", [{"mode": 0o777}, {"owner": "nobody"}, {"group": "nogroup"}, {"kind": "f"}])
def test_a_folder_is_corrected_for_any_difference(changed: dict[str, object]) -> None:
    assert changes(DESIRED, _entry("/etc/kubernetes", **changed)) == Changes(directories=DESIRED.directories)


def test_a_link_is_moved_when_it_points_elsewhere() -> None:
    for entry in (_entry(LINK.path, target="/opt/kubewright/x/0-b/x"), _entry(LINK.path, kind="f")):
        found = changes(DESIRED, entry)
        assert found.links == (LINK,)
        assert [u.causes for u in found.units] == [(LINK.path,)], "the unit may have been started with the other one since"


def test_a_file_edited_by_hand_restarts_the_unit_that_may_have_read_it() -> None:
    found = changes(DESIRED, _entry(CONFIG.path, sha256="e" * 64))
    assert found.files == (CONFIG,)
    assert [(u.action, u.causes) for u in found.units] == [(Action.RESTART, (CONFIG.path,))]


DAMAGED = dataclasses.replace(PAYLOAD, damaged=True)


def test_a_missing_payload_is_sent_and_nothing_restarts() -> None:
    assert changes(DESIRED, _without(PAYLOAD.path)) == Changes(payloads=(PAYLOAD,))


@pytest.mark.parametrize(
    "host",
    [
        _entry(PAYLOAD.path, size=9),
        _entry(PAYLOAD.path, sha256="c" * 64),
        dataclasses.replace(DONE, manifest={}),
    ],
    ids=["of another size", "of another sum, once it was rehashed", "without a manifest"],
)
def test_a_payload_that_differs_from_its_manifest_is_sent_and_units_that_may_have_read_it_restart(host: Observed) -> None:
    found = changes(DESIRED, host)
    assert found.payloads == (DAMAGED,)
    assert [(u.action, u.causes) for u in found.units] == [(Action.RESTART, (LINK.path,))]
    assert "send /opt/kubewright/x/1-a/x (0 MB) because what is there is damaged" in found.sentences()


def test_a_payload_whose_manifest_names_another_sum_is_sent() -> None:
    manifest = {**DONE.manifest, PAYLOAD.path: ("c" * 64, 10)}
    assert changes(DESIRED, dataclasses.replace(DONE, manifest=manifest)) == Changes(payloads=(PAYLOAD,))


def test_a_payload_that_was_rehashed_and_is_whole_is_left_alone() -> None:
    assert not changes(DESIRED, _entry(PAYLOAD.path, sha256=PAYLOAD.sha256))


def test_only_the_rest_of_a_payload_is_sent_when_a_push_broke() -> None:
    big = dataclasses.replace(PAYLOAD, size=40_000_000, packed=20_000_000)
    part = Entry(kind="f", mode=0o644, owner="root", group="root", size=12_000_000)
    host = dataclasses.replace(_without(PAYLOAD.path), entries={**_without(PAYLOAD.path).entries, big.partial: part})
    found = changes(Desired(payloads=(big,)), host)
    assert found.payloads == (dataclasses.replace(big, there=12_000_000),)
    assert found.sentences() == ("send /opt/kubewright/x/1-a/x (40 MB, 12 of 20 MB compressed are there)",)


def test_a_partial_file_of_another_version_is_not_resumed() -> None:
    other = dataclasses.replace(PAYLOAD, sha256="e" * 64)
    part = Entry(kind="f", mode=0o644, owner="root", group="root", size=3)
    host = dataclasses.replace(_without(PAYLOAD.path), entries={other.partial: part})
    assert changes(Desired(payloads=(PAYLOAD,)), host).payloads == (PAYLOAD,)


def test_a_preview_names_the_source_of_a_fetch() -> None:
    fetched = dataclasses.replace(PAYLOAD, url="http://files.example.org/b.zst")
    found = changes(Desired(payloads=(fetched,)), _without(PAYLOAD.path))
    assert found.sentences() == ("fetch /opt/kubewright/x/1-a/x from http://files.example.org/b.zst (0 MB)",)


def test_a_unit_restarts_for_new_content_and_the_cause_is_named() -> None:
    wanted = dataclasses.replace(CONFIG, content=b"two\n")
    found = changes(_replaced(wanted), DONE)
    assert found.files == (wanted,)
    assert [(u.action, u.causes) for u in found.units] == [(Action.RESTART, (CONFIG.path,))]
    assert found.gated
    assert found.sentences() == ("write /etc/kubernetes/x.yaml", "restart x.service because of /etc/kubernetes/x.yaml")
    assert found.units[0].record[CONFIG.path] == wanted.sha256
    assert not found.reload


def test_a_unit_restarts_for_a_moved_link_and_a_new_key() -> None:
    desired = _replaced(key(SECRET.path, "d" * 64, (UNIT,)), old=SECRET)
    desired = dataclasses.replace(desired, links=(dataclasses.replace(LINK, target="/opt/kubewright/x/2-b/x"),))
    assert changes(desired, DONE).units[0].causes == (SECRET.path, LINK.path)


def test_a_run_killed_between_write_and_restart_restarts_the_next_time() -> None:
    wanted = dataclasses.replace(CONFIG, content=b"two\n")
    written = _entry(CONFIG.path, sha256=wanted.sha256)
    found = changes(_replaced(wanted), written)
    assert found.files == ()
    assert [(u.action, u.causes) for u in found.units] == [(Action.RESTART, (CONFIG.path,))]


def test_a_unit_without_a_record_restarts_for_all_its_files() -> None:
    found = changes(DESIRED, dataclasses.replace(DONE, started_with={}))
    assert found.units[0].action is Action.RESTART
    assert found.units[0].causes == tuple(sorted((CONFIG.path, LINK.path, SECRET.path, UNIT_FILE.path)))


def test_a_file_that_is_no_longer_wanted_restarts_the_unit() -> None:
    desired = dataclasses.replace(DESIRED, files=tuple(f for f in DESIRED.files if f != CONFIG))
    assert changes(desired, DONE).units[0].causes == (CONFIG.path,)


def test_a_file_that_names_no_unit_restarts_none() -> None:
    assert changes(_replaced(dataclasses.replace(PLAIN, content=b"other\n"), old=PLAIN), DONE).units == ()


@pytest.mark.parametrize("active", ["inactive", "failed", "deactivating"])
def test_a_stopped_unit_is_started_without_a_gate(active: str) -> None:
    found = changes(DESIRED, _unit(active=active))
    assert [(u.action, u.causes) for u in found.units] == [(Action.START, ())]
    assert not found.gated


@pytest.mark.parametrize("active", ["active", "activating", "reloading"])
def test_a_running_or_starting_unit_is_left_alone(active: str) -> None:
    assert not changes(DESIRED, _unit(active=active))


@pytest.mark.parametrize("enabled", ["disabled", ""])
def test_a_disabled_unit_is_enabled(enabled: str) -> None:
    found = changes(DESIRED, _unit(enabled=enabled))
    assert [(u.action, u.causes) for u in found.units] == [(Action.ENABLE, ())]
    assert not found.gated


def test_a_unit_that_the_host_does_not_know_is_started() -> None:
    assert changes(DESIRED, dataclasses.replace(DONE, units={})).units[0].action is Action.START


def test_systemd_reloads_for_a_new_unit_file_or_when_it_asks_for_it() -> None:
    wanted = dataclasses.replace(UNIT_FILE, content=b"[Unit]\nDescription=x\n")
    assert changes(_replaced(wanted, old=UNIT_FILE), DONE).reload
    assert changes(DESIRED, _unit(needs_reload=True)) == Changes(reload=True)


def test_a_late_file_is_applied_again_when_its_evidence_differs() -> None:
    assert changes(DESIRED, _without(LATE.path)) == Changes(late=(LATE,))
    assert changes(DESIRED, _entry(LATE.path, sha256="c" * 64)).sentences() == ("apply x",)


def test_installed_packages_and_existing_users_are_left() -> None:
    assert changes(DESIRED, dataclasses.replace(DONE, packages=frozenset())).packages == ("socat",)
    assert changes(DESIRED, dataclasses.replace(DONE, users=frozenset())).users == ("etcd",)


def test_a_secret_is_listed_as_changed_and_never_shown() -> None:
    found = changes(_replaced(key(SECRET.path, "d" * 64, (UNIT,)), old=SECRET), DONE)
    assert "write /etc/kubernetes/x.key (secret)" in found.sentences()
    assert "d" * 64 not in "".join(found.sentences())


def test_an_entry_of_another_state_is_no_unit_state() -> None:
    assert not fresh().runs("nobody-knows.service")
    assert UnitState().active == "inactive"
    assert not fresh().holds("/x", "a", 1)
    torn = dataclasses.replace(
        fresh(), entries={"/x": Entry(kind="f", mode=0, owner="", group="", size=1)}, manifest={"/x": ("a", 2)}
    )
    assert not torn.holds("/x", "a", 2)
