"""Leftovers: things that an older plan put on a host and the new one does not want."""

from __future__ import annotations

import dataclasses

from kubewright.observe.observed import INSTALLED, Observed
from kubewright.plan import leftovers
from kubewright.plan.changes import all_changes
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, File, Link, Unit
from kubewright.plan.role import Role, on_every_host
from tests.support.scenarios import scenario

WANTED = Desired(
    files=(File(path="/etc/x", content=b"x"),),
    links=(Link(path="/usr/local/bin/x", target="/opt/kubewright/x/1/x"),),
    units=(Unit(name="x.service"),),
)
LINES = ("file /etc/x", "link /usr/local/bin/x", "unit x.service")


def _everything(installed: tuple[str, ...], wanted: Desired = WANTED) -> tuple[dict[str, Desired], Observed]:
    made = scenario("lab")
    observed = dataclasses.replace(made.observed("m1"), installed=installed)
    context: Context = made.context("m1", observed)
    role = Role(name="x", runs_on=on_every_host, desired=lambda _context: wanted)
    return leftovers.everything((role,), context), observed


def test_new_things_are_recorded_first() -> None:
    found, _ = _everything(())
    assert list(found) == ["record", "x", "leftovers"]
    assert found["record"].files[0].path == INSTALLED
    assert found["record"].files[0].content == "".join(f"{line}\n" for line in LINES).encode()


def test_a_host_with_a_right_record_has_no_changes() -> None:
    found, observed = _everything(LINES)
    changed = all_changes(found, observed)
    assert not changed["record"]
    assert not changed["leftovers"]


def test_leftovers_are_removed_last_and_units_first() -> None:
    found, _ = _everything((*LINES, "file /etc/old", "link /usr/local/bin/old", "unit old.service"))
    (removing,) = found["leftovers"].late
    assert removing.title == "remove unit old.service, link /usr/local/bin/old, file /etc/old"
    assert removing.apply.index("disable -q --now old.service") < removing.apply.index("rm -f /usr/local/bin/old")
    assert removing.content == "".join(f"{line}\n" for line in LINES).encode()


def test_the_record_keeps_leftovers_until_they_are_removed() -> None:
    found, _ = _everything(("file /etc/old",))
    content = found["record"].files[0].content
    assert isinstance(content, bytes)
    assert b"file /etc/old\n" in content


def test_a_path_with_a_blank_is_one_path() -> None:
    assert leftovers.removal(("file /etc/a b",)).splitlines()[0] == "rm -f '/etc/a b'"


def test_files_that_two_roles_want_are_written_once() -> None:
    _, observed = _everything(LINES)
    changed = all_changes({"a": WANTED, "b": WANTED}, observed)
    assert [f.path for f in changed["a"].files] == ["/etc/x"]
    assert changed["b"].files == ()
