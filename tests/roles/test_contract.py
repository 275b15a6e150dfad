"""The rules for every role."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple
from functools import cache
from pathlib import Path

import pytest

from deploy.waves import ROLES
from kubewright.hosts.script import _prelude
from kubewright.model.certificates import ROWS
from kubewright.model.places import HOME
from kubewright.observe.observed import LINK_FOLDERS
from kubewright.observe.script import script
from kubewright.plan.changes import changes
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, File, Stored
from kubewright.plan.places import places
from kubewright.plan.role import Role
from kubewright.releases.systems import PACKAGES, PROGRAMS, SYSTEMS
from pki import encryption
from tests.support.hosts import carried_out
from tests.support.scenarios import REPOSITORY, hosts, scenario

OBSERVED = places(ROLES)
PLACES = hosts()
NAMES = [role.name for role in ROLES]
ALL = pytest.mark.parametrize(("name", "host"), PLACES)

# Units whose readiness systemd itself knows, with the reason.
READY_BY_SYSTEMD = {"kube-apiserver-load-balancer.service": "Type=notify: haproxy reports once its listeners are bound"}


@cache
def _desired(name: str, host: str) -> tuple[tuple[Role, Desired], ...]:
    context: Context = scenario(name).context(host)
    return tuple((role, role.desired(context)) for role in ROLES if role.runs_on(context.node))


def _files(desired: Desired) -> tuple[File, ...]:
    return (*desired.files, *desired.late)


def _is_observed(path: str, units: tuple[str, ...]) -> bool:
    under = any(path == folder or path.startswith(f"{folder}/") for folder in OBSERVED.folders)
    return under or path in OBSERVED.alone or path in {f"/etc/systemd/system/{unit}" for unit in units}


def _shell(desired: Desired) -> Iterator[str]:
    for unit in desired.units:
        yield from filter(None, (unit.gate, unit.before_stop, unit.ready))
        yield from astuple(unit.transfer) if unit.transfer else ()
    yield from (file.apply for file in desired.late)
    yield from (task.apply for task in desired.tasks)
    for file in _files(desired):
        if file.path.endswith(".sh") and isinstance(file.content, bytes):
            yield file.content.decode()


def _parses(text: str) -> None:
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{text}"


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_a_role_is_called_like_its_folder(role: Role) -> None:
    assert (REPOSITORY / "roles" / role.name / "role.py").is_file()


def test_every_folder_with_a_role_is_part_of_the_deploy() -> None:
    assert {p.parent.name for p in (REPOSITORY / "roles").glob("*/role.py")} == set(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_a_role_comes_after_the_roles_it_names(role: Role) -> None:
    assert set(role.after) <= set(NAMES[: NAMES.index(role.name)])


def test_a_unit_belongs_to_one_role() -> None:
    assert max(Counter(unit for role in ROLES for unit in role.units).values()) == 1


def test_roles_import_no_other_role() -> None:
    for path in (REPOSITORY / "roles").glob("*/*.py"):
        others = set(re.findall(r"^from roles\.(\w+)", path.read_text(), re.MULTILINE)) - {path.parent.name, "common"}
        assert others == set(), path


@ALL
def test_everything_planned_is_observed(name: str, host: str) -> None:
    for role, desired in _desired(name, host):
        paths = [*(f.path for f in _files(desired)), *(d.path for d in desired.directories), *(p.path for p in desired.payloads)]
        assert [p for p in paths if not _is_observed(p, role.units)] == [], role.name
        for link in desired.links:
            assert str(Path(link.path).parent) in LINK_FOLDERS or _is_observed(link.path, ()), link
            assert link.target.startswith(f"{HOME}/"), link


@ALL
def test_a_host_with_everything_applied_needs_no_changes(name: str, host: str) -> None:
    made = scenario(name)
    state = made.observed(host)
    for _, desired in _desired(name, host):
        state = carried_out(desired, state)
    context = made.context(host, state)
    for role in ROLES:
        if role.runs_on(context.node):
            assert changes(role.desired(context), state).sentences() == (), role.name


@ALL
def test_a_unit_is_declared_planned_with_its_file_and_known_to_be_ready(name: str, host: str) -> None:
    for role, desired in _desired(name, host):
        assert {u.name for u in desired.units} == set(role.units) or (role.at_times and not desired.units), role.name
        paths = {f.path for f in desired.files}
        for unit in desired.units:
            assert f"/etc/systemd/system/{unit.name}" in paths
            assert unit.ready or unit.name in READY_BY_SYSTEMD, f"{unit.name}: a ready probe, or a reason above"
        restarts = {unit for f in desired.files for unit in f.restarts} | {
            unit for link in desired.links for unit in link.restarts
        }
        assert restarts <= set(role.units), f"{role.name} restarts a unit that is not its own"


@ALL
def test_units_ready_by_systemd_are_of_type_notify(name: str, host: str) -> None:
    for _, desired in _desired(name, host):
        for file in desired.files:
            if Path(file.path).name in READY_BY_SYSTEMD:
                assert isinstance(file.content, bytes)
                assert b"\nType=notify\n" in file.content


@ALL
def test_links_point_to_the_roles_own_binaries_and_those_are_sent(name: str, host: str) -> None:
    brought = {p.path for _, desired in _desired(name, host) for p in desired.payloads}
    for role, desired in _desired(name, host):
        assert {Path(link.path).name for link in desired.links} == set(role.binaries) or role.name == "binaries", role.name
        assert {link.target for link in desired.links} <= brought


OF_SYSTEM = {"/bin/kill", "/bin/rm", "/bin/sh", "/bin/touch", "/usr/sbin/setsebool", "/usr/sbin/sysctl"}


@ALL
def test_a_units_program_is_linked_or_from_a_package_of_the_system(name: str, host: str) -> None:
    linked = {link.path for _, desired in _desired(name, host) for link in desired.links}
    for role, desired in _desired(name, host):
        for file in desired.files:
            if not file.path.startswith("/etc/systemd/system/"):
                continue
            assert isinstance(file.content, bytes)
            for program in re.findall(r"^Exec\w+=[-+!@]?(\S+)", file.content.decode(), re.MULTILINE):
                known = program in linked or program in OF_SYSTEM or Path(program).name in PROGRAMS
                assert known, f"{role.name}: {program}"


@ALL
def test_every_certificate_of_the_table_is_planned_by_exactly_one_role(name: str, host: str) -> None:
    node = scenario(name).plan.node(host)
    keys = Counter(
        file.content.name for _, desired in _desired(name, host) for file in desired.files if isinstance(file.content, Stored)
    )
    expected = {row.stored(node): 1 for row in ROWS.values() if row.on(node)}
    bare = ("service-account", encryption.ROW)
    assert {key: count for key, count in keys.items() if key not in bare} == expected
    assert {keys[name] for name in bare} == {1 if node.is_master else 0}
    assert not [key for key in keys if key.startswith("ca/")], "an authority's key reaches no host"


@ALL
def test_only_owners_can_read_keys_and_keys_are_beside_their_certificates(name: str, host: str) -> None:
    for _, desired in _desired(name, host):
        paths = {f.path: f for f in desired.files}
        for file in _files(desired):
            if file.secret:
                assert file.mode == 0o600, file.path
            if isinstance(file.content, Stored) and file.path != encryption.PATH:
                assert file.path.removesuffix(".key") + (".pub" if file.path.endswith("sa.key") else ".crt") in paths


@ALL
def test_only_files_marked_secret_have_secrets(name: str, host: str) -> None:
    for _, desired in _desired(name, host):
        for file in _files(desired):
            assert isinstance(file.content, Stored) or b"PRIVATE KEY" not in file.content, file.path
            assert isinstance(file.content, Stored) or file.hidden or b"Authorization" not in file.content, file.path
            assert file.mode & 0o022 == 0, f"others can write {file.path}"


@ALL
def test_a_path_planned_twice_is_the_same_both_times(name: str, host: str) -> None:
    seen: dict[str, object] = {}
    for role, desired in _desired(name, host):
        wanted: list[tuple[str, object]] = [(f.path, (f.sha256, f.owner, f.group, f.mode)) for f in _files(desired)]
        wanted += [(d.path, d) for d in desired.directories] + [(link.path, link) for link in desired.links]
        for path, said in wanted:
            assert seen.setdefault(path, said) == said, f"{role.name} wants {path} otherwise than a role before"


@ALL
def test_ports_are_taken_once_and_named_by_a_process(name: str, host: str) -> None:
    plan = scenario(name).plan
    ports = [(p.protocol, p.number) for role, _ in _desired(name, host) for p in role.ports(plan, plan.node(host))]
    assert len(ports) == len(set(ports))


@ALL
def test_all_shell_parses(name: str, host: str) -> None:
    for text in {text for _, desired in _desired(name, host) for text in _shell(desired)}:
        _parses(text)


def test_the_engines_own_shell_parses() -> None:
    _parses(script(tuple(u for role in ROLES for u in role.units), PROGRAMS, OBSERVED, deep=True))
    _parses(_prelude())


@ALL
def test_late_files_describe_their_effect(name: str, host: str) -> None:
    for _, desired in _desired(name, host):
        for file in desired.late:
            assert file.apply, file.path
            assert file.title, file.path
        assert [f.path for f in desired.files if f.apply] == [], "only late files are applied"


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_checks_have_titles_of_their_own(role: Role) -> None:
    titles = [check.title for check in role.checks]
    assert len(titles) == len(set(titles))


def test_every_system_has_packages_and_every_program_a_reason() -> None:
    assert {system.family for system in SYSTEMS} == set(PACKAGES)
    assert all(package and why for rows in PACKAGES.values() for _, package, why in rows)
    assert {p for p, _, _ in PACKAGES["debian"]} == {p for p, _, _ in PACKAGES["el"]} - {""}
