"""Checks that follow from a role's data hold on a healthy host, and each fault is named. The roles are those of the deploy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.waves import ROLES
from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Node
from kubewright.model.places import HOME
from kubewright.plan.context import link_of
from kubewright.plan.derived import derived_checks, files, units
from kubewright.plan.derived.ports import QUESTION as SOCKETS
from kubewright.plan.role import Port, Role
from tests.support.scenarios import hosts, scenario

PLAN = scenario("lab").plan
OF_THE_LAB = [row for row in ROWS.values() if any(map(row.on, PLAN.nodes))]
ALL = pytest.mark.parametrize(("name", "host"), hosts())


def _target(binary: str) -> str:
    return f"{HOME}/{binary}/1.2.3-0123abcd/{binary}"


class Machine:
    """A host that is as planned, until a test changes its lines. It answers the three questions."""

    def __init__(self, name: str, host: str) -> None:
        self.plan = scenario(name).plan
        self.node = self.plan.node(host)
        self.context = scenario(name).context(host)
        self.roles = [role for role in ROLES if role.runs_on(self.node)]
        self.asked: list[str] = []
        self.broken: dict[str, str] = {}
        """By a question's first word: the error that it ends with."""
        self.units = {unit: _state(unit, 100 + n) for n, unit in enumerate(u for role in self.roles for u in role.units)}
        programs = units.programs(self.roles)
        self.programs = {_pid(self.units[u]): f"{_target(link.rpartition('/')[2])}" for u, link in programs.items() if link}
        self.links = {link: _target(link.rpartition("/")[2]) for link in programs.values() if link}
        self.sockets = {(p.protocol, p.number): _sockets(p) for role in self.roles for p in role.ports(self.plan, self.node)}
        self.files = dict(self._files())
        self.behind = {link_of(b): "f\t755\troot\troot\t1\t" for role in self.roles for b in role.binaries}

    def _files(self) -> Iterator[tuple[str, str]]:
        """From what the roles want: not from the table that the checks are made of."""
        for role in self.roles:
            desired = role.desired(self.context)
            for d in desired.directories:
                yield d.path, f"d\t{d.mode:o}\t{d.owner}\t{d.group}\t1\t"
            for f in desired.files:
                yield f.path, f"f\t{f.mode:o}\t{f.owner}\t{f.group}\t1\t"
            for link in desired.links:
                yield link.path, f"l\t777\troot\troot\t1\t{link.target}"

    def run(self, command: str) -> Any:
        self.asked.append(command)
        word = command.split()[0].rpartition("(")[2]
        if word in self.broken:
            return SimpleNamespace(rc=1, stdout="", stderr=self.broken[word])
        answers = {"systemctl": self._systemctl, "ss": self._ss, "find": self._find}
        return SimpleNamespace(rc=0, stdout=answers[word](command), stderr="")

    def _systemctl(self, _command: str) -> str:
        lines = [*("\n".join((*state, "")) for state in self.units.values()), ""]
        lines += [f"exe {pid} {path}" for pid, path in self.programs.items()]
        lines += [f"link {link} {path}" for link, path in self.links.items()]
        return "\n".join(lines) + "\n"

    def _ss(self, _command: str) -> str:
        return "".join(f"{line}\n" for lines in self.sockets.values() for line in lines)

    def _find(self, command: str) -> str:
        first, _, second = command.partition("; echo")
        listed = "".join(f"{path}\t{rest}\n" for path, rest in self.files.items() if path in first.split())
        behind = "".join(f"{path}\t{rest}\n" for path, rest in self.behind.items() if path in second.split())
        return f"{listed}behind the links:\n{behind}"

    def failures(self) -> dict[str, str]:
        """By role and title, the message of each check that does not hold."""
        found = {}
        for role, check in derived_checks(self.plan, self.node, ROLES):
            try:
                check.run(self, self.plan, self.node)
            except AssertionError as error:
                found[f"{role}: {check.title}"] = str(error)
        return found


def _state(unit: str, pid: int) -> list[str]:
    return [f"Id={unit}", "ActiveState=active", "SubState=running", "UnitFileState=enabled", f"MainPID={pid}", "NRestarts=3"]


def _pid(state: list[str]) -> str:
    return state[4].removeprefix("MainPID=")


def _sockets(port: Port) -> list[str]:
    state = "LISTEN" if port.protocol == "tcp" else "UNCONN"
    process = f' users:(("{port.process[:15]}",pid=1,fd=7))' if port.process else ""
    return [f"{port.protocol} {state} 0 0 {a}:{port.number} 0.0.0.0:*{process}" for a in port.addresses or ("*",)]


@ALL
def test_every_check_holds_on_a_host_that_is_as_planned(name: str, host: str) -> None:
    assert Machine(name, host).failures() == {}


def _cases(what: str) -> list[Any]:
    """(role, host) for every role that has `what`, on the first host of the lab that it runs on."""
    found = []
    for role in ROLES:
        node = next((node for node in PLAN.nodes if role.runs_on(node)), None)
        if node is None or role.at_times:
            continue  # of an add-on, of the other DNS provider, or there only while something changes
        if role.ports(PLAN, node) if what == "ports" else getattr(role, what):
            found.append(pytest.param(role, node, id=role.name))
    return found


UNITS, PORTS, BINARIES = (pytest.mark.parametrize(("role", "node"), _cases(what)) for what in ("units", "ports", "binaries"))


def _only(found: dict[str, str], role: Role, *words: str) -> str:
    """The message of the one failure, which is the role's."""
    assert len(found) == 1, found
    ((title, message),) = found.items()
    assert title.startswith(f"{role.name}: ")
    assert not [word for word in words if word not in message], message
    return title


# -- units


@UNITS
def test_a_unit_that_is_not_active_is_named_with_its_log(role: Role, node: Node) -> None:
    for unit in role.units:
        machine = Machine("lab", node.name)
        machine.units[unit][1:3] = ["ActiveState=activating", "SubState=auto-restart"]
        words = (f"{unit} is activating (auto-restart, 3 automatic restarts)", "expected: active", f"journalctl -u {unit}")
        assert f"{unit} is enabled and active" in _only(machine.failures(), role, *words)


@UNITS
def test_a_unit_that_is_not_enabled_is_named(role: Role, node: Node) -> None:
    for unit in role.units:
        machine = Machine("lab", node.name)
        machine.units[unit][3] = "UnitFileState=disabled"
        _only(machine.failures(), role, f"{unit} is disabled, expected: enabled", "kubewright apply")


@UNITS
def test_a_unit_that_systemd_does_not_know_is_named(role: Role, node: Node) -> None:
    for unit in role.units:
        machine = Machine("lab", node.name)
        machine.units[unit] = [f"Id={unit}", "ActiveState=inactive", "SubState=dead", "UnitFileState=", "MainPID=0"]
        _only(machine.failures(), role, f"{unit} is not installed", f"{unit} is inactive")


@UNITS
def test_a_unit_that_runs_another_version_than_its_link_leads_to_is_named(role: Role, node: Node) -> None:
    for unit in role.units:
        machine = Machine("lab", node.name)
        link = units.programs([role])[unit]
        if not link:
            assert not role.binaries, f"{unit} is not called like a program of {role.name}, so its process is not compared"
            continue
        old = f"{HOME}/old/1.2.2-00000000/old"
        machine.programs[_pid(machine.units[unit])] = f"{old} (deleted)"
        _only(machine.failures(), role, f"{unit} runs {old}, expected: {machine.links[link]}", f"systemctl restart {unit}")


@UNITS
def test_a_unit_whose_process_cannot_be_read_is_named(role: Role, node: Node) -> None:
    for unit in (u for u, link in units.programs([role]).items() if link):
        machine = Machine("lab", node.name)
        del machine.programs[_pid(machine.units[unit])]
        _only(machine.failures(), role, f"{unit} runs an unknown program")


def test_a_program_that_was_replaced_by_the_same_one_still_counts_as_active() -> None:
    machine = Machine("lab", "m1")
    machine.programs = {pid: f"{path} (deleted)" for pid, path in machine.programs.items()}
    assert machine.failures() == {}


# -- ports


@PORTS
def test_a_port_that_nobody_listens_on_is_named(role: Role, node: Node) -> None:
    for port in role.ports(PLAN, node):
        machine = Machine("lab", node.name)
        machine.sockets[port.protocol, port.number] = []
        where = f"{port.protocol} {port.number}: nothing listens, planned: {port.process or 'the kernel'}"
        _only(machine.failures(), role, where, f"ss -ltunp 'sport = :{port.number}'")


@PORTS
def test_a_port_that_another_process_has_is_named(role: Role, node: Node) -> None:
    for port in role.ports(PLAN, node):
        machine = Machine("lab", node.name)
        other = Port(number=port.number, protocol=port.protocol, process="nginx", addresses=port.addresses)
        machine.sockets[port.protocol, port.number] = _sockets(other)
        _only(machine.failures(), role, f"nginx listens, planned: {port.process or 'the kernel'}")


@PORTS
def test_a_port_that_is_bound_to_other_addresses_than_its_own_is_named(role: Role, node: Node) -> None:
    for port in role.ports(PLAN, node):
        machine = Machine("lab", node.name)
        found = () if port.addresses else ("127.0.0.1",)
        other = Port(number=port.number, protocol=port.protocol, process=port.process, addresses=found)
        machine.sockets[port.protocol, port.number] = _sockets(other)
        _only(machine.failures(), role, f"bound to {'127.0.0.1' if found else 'all addresses'}, planned: ")


def test_a_port_that_lacks_one_of_its_addresses_is_named() -> None:
    machine = Machine("lab", "m1")
    machine.sockets["tcp", 2379].pop(0)
    found = machine.failures()
    assert ["bound to 127.0.0.1, planned: 10.90.0.11, 127.0.0.1" in message for message in found.values()] == [True]


# -- binaries


@BINARIES
def test_a_program_that_is_no_link_is_named(role: Role, node: Node) -> None:
    for binary in role.binaries:
        machine = Machine("lab", node.name)
        machine.files[link_of(binary)] = "f\t755\troot\troot\t1\t"
        _only(machine.failures(), role, f"{link_of(binary)} is no symbolic link", f"a link into {HOME}/{binary}/")


@BINARIES
def test_a_program_that_is_missing_or_links_elsewhere_is_named(role: Role, node: Node) -> None:
    for binary in role.binaries:
        machine = Machine("lab", node.name)
        machine.files[link_of(binary)] = f"l\t777\troot\troot\t1\t/usr/bin/{binary}"
        _only(machine.failures(), role, f"{link_of(binary)} is a link to /usr/bin/{binary}", "kubewright apply")
        del machine.files[link_of(binary)]
        _only(machine.failures(), role, f"{link_of(binary)} is missing")


@BINARIES
def test_a_link_that_leads_nowhere_is_named(role: Role, node: Node) -> None:
    for binary in role.binaries:
        machine = Machine("lab", node.name)
        machine.behind[link_of(binary)] = f"l\t777\troot\troot\t1\t{_target(binary)}"
        _only(machine.failures(), role, "which is no file")
        del machine.behind[link_of(binary)]
        _only(machine.failures(), role, "which is no file")


@BINARIES
@pytest.mark.parametrize(("mode", "owner"), [("775", "root"), ("757", "root"), ("755", "bin"), ("644", "root")])
def test_a_program_that_others_can_write_or_not_all_can_execute_is_named(role: Role, node: Node, mode: str, owner: str) -> None:
    for binary in role.binaries:
        machine = Machine("lab", node.name)
        machine.behind[link_of(binary)] = f"f\t{mode}\t{owner}\troot\t1\t"
        words = (f"has the owner {owner} and the mode 0{mode}, expected: root and 0755", "chmod 0755", "plan --deep")
        _only(machine.failures(), role, *words)


# -- keys


def _keys() -> list[Any]:
    rows = [(f"{row.path}.key", row.owner, "rotate-ca") for row in OF_THE_LAB]
    bare = [
        ("/etc/kubernetes/pki/sa.key", "root", "rotate-service-account"),
        ("/etc/kubernetes/apiserver/encryption.yaml", "root", "kubewright encryption rotate"),
    ]
    return [pytest.param(*row, id=row[0]) for row in (*rows, *bare)]


KEYS = pytest.mark.parametrize(("path", "owner", "replaced"), _keys())


def _key_failure(machine: Machine) -> str:
    found = machine.failures()
    assert len(found) == 1 and next(iter(found)).startswith("certificates: only owners read the keys in /etc/"), found
    return next(iter(found.values()))


@KEYS
def test_a_key_that_others_may_read_is_named_with_the_way_to_replace_it(path: str, owner: str, replaced: str) -> None:
    machine = Machine("lab", "m1")
    machine.files[path] = f"f\t644\t{owner}\t{owner}\t1\t"
    said = _key_failure(machine)
    assert f"{path} has the owner {owner} and the mode 0644, expected: {owner} and 0600; kubewright apply corrects it" in said
    assert replaced in said


@KEYS
def test_a_key_of_another_owner_is_named(path: str, owner: str, replaced: str) -> None:
    machine = Machine("lab", "m1")
    other = "root" if owner == "etcd" else "etcd"
    machine.files[path] = f"f\t600\t{other}\t{other}\t1\t"
    said = _key_failure(machine)
    assert f"{path} has the owner {other} and the mode 0600, expected: {owner} and 0600" in said
    assert replaced not in said, "nobody else could read it by its mode"


@KEYS
def test_a_key_that_is_missing_or_no_file_is_named(path: str, owner: str, replaced: str) -> None:
    machine = Machine("lab", "m1")
    machine.files[path] = "l\t777\troot\troot\t1\t/root/elsewhere"
    assert f"{path} is no regular file" in _key_failure(machine)
    del machine.files[path]
    assert f"{path} is missing; kubewright apply writes it" in _key_failure(machine)


@pytest.mark.parametrize("row", OF_THE_LAB, ids=[row.name for row in OF_THE_LAB])
@pytest.mark.parametrize(("mode", "owner"), [("600", "root"), ("666", "root"), ("644", "nobody")])
def test_a_certificate_that_not_all_may_read_or_not_only_root_may_write_is_named(row: Any, mode: str, owner: str) -> None:
    machine = Machine("lab", "m1")
    machine.files[f"{row.path}.crt"] = f"f\t{mode}\t{owner}\troot\t1\t"
    assert f"{row.path}.crt has the owner {owner} and the mode 0{mode}, expected: root and 0644" in _key_failure(machine)


@pytest.mark.parametrize("folder", ["/etc/etcd/pki", "/etc/flannel/pki", "/etc/kubernetes/pki", "/etc/kubernetes/apiserver"])
def test_a_folder_of_keys_that_others_can_write_to_is_named(folder: str) -> None:
    machine = Machine("lab", "m1")
    machine.files[folder] = "d\t777\troot\troot\t1\t"
    assert f"{folder} has the owner root and the mode 0777, expected: root and 0755" in _key_failure(machine)


# -- the questions


@pytest.mark.parametrize("word", ["systemctl", "ss", "find"])
def test_a_question_that_cannot_be_answered_fails_its_checks_with_the_reason(word: str) -> None:
    machine = Machine("lab", "m1")
    machine.broken[word] = "no answer in 8 s"
    found = machine.failures()
    assert found and all("no answer in 8 s" in message for message in found.values())


@ALL
def test_all_checks_of_a_host_ask_three_questions(name: str, host: str) -> None:
    machine = Machine(name, host)
    machine.failures()
    assert len(set(machine.asked)) == 3


def _shell(text: str, path: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", **({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})}
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def test_real_files_are_listed_with_kind_mode_owner_and_what_links_lead_to(tmp_path: Path) -> None:
    key, program, link, nowhere = (tmp_path / name for name in ("a key", "program", "link", "nowhere"))
    key.touch(0o600)
    program.touch()
    program.chmod(0o755)
    link.symlink_to(program)
    nowhere.symlink_to(tmp_path / "gone")
    links = [str(link), str(nowhere)]
    asked = files.question([str(tmp_path), str(key), str(tmp_path / "missing")], links)
    found = files.asked(SimpleNamespace(run=lambda text: SimpleNamespace(rc=0, stdout=_shell(text), stderr="")), asked)
    assert (found.there[str(key)].kind, found.there[str(key)].mode, found.there[str(key)].owner) == ("f", 0o600, key.owner())
    assert found.there[str(tmp_path)].kind == "d"
    assert (found.there[str(link)].kind, found.there[str(link)].target) == ("l", str(program))
    assert (found.behind[str(link)].kind, found.behind[str(link)].mode) == ("f", 0o755)
    assert found.behind[str(nowhere)].kind == "l"
    assert str(tmp_path / "missing") not in found.there


def test_the_question_about_units_reads_the_program_of_each_main_process(tmp_path: Path) -> None:
    program, link = tmp_path / "etcd-1" / "etcd", tmp_path / "etcd"
    program.parent.mkdir()
    program.write_bytes(Path("/bin/sleep").resolve().read_bytes())
    program.chmod(0o755)
    link.symlink_to(program)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    with subprocess.Popen([str(link), "60"]) as process:
        try:
            systemctl = bin_folder / "systemctl"
            properties = f"MainPID={process.pid}\\nNRestarts=0\\nActiveState=active\\nUnitFileState=enabled\\nId=etcd.service"
            systemctl.write_text(f"#!/bin/sh\nprintf '{properties}\\n'\n")
            systemctl.chmod(0o755)
            said = _shell(units.question({"etcd.service": str(link), "haproxy.service": ""}), bin_folder)
        finally:
            process.kill()
    host = SimpleNamespace(run=lambda _text: SimpleNamespace(rc=0, stdout=said, stderr=""))
    units.check("etcd.service", {"etcd.service": str(link)}).run(host, None, None)
    assert f"exe {process.pid} {program}\n" in said and f"link {link} {program}\n" in said


def test_the_question_about_units_fails_with_systemctl(tmp_path: Path) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\necho 'no bus' >&2; exit 1\n")
    systemctl.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", units.question({"etcd.service": ""})],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert (done.returncode, done.stderr) == (1, "no bus\n")


def test_ss_lists_the_sockets_of_this_machine() -> None:
    _shell(SOCKETS)
